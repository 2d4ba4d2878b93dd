// The U-Net and the VAE's decoder: too much for a lesson's loops, so ONNX Runtime computes them,
// in WebAssembly, on one thread. A script of its own, loaded on a click.
import * as ort from "onnxruntime-web/wasm";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm";
import { bytes } from "./weights.js";

globalThis.PLAYGROUND_ENGINE = async function (packed) {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = wasm;
  const unet = await ort.InferenceSession.create(bytes(packed.unet));
  const decoder = await ort.InferenceSession.create(bytes(packed.decoder));
  const [channels, height, width] = packed.latents;
  const tensor = (values, shape) => new ort.Tensor("float32", values, shape);
  return {
    config: packed,
    async unet(sample, timesteps, rows) {
      const n = timesteps.length;
      const { result } = await unet.run({
        sample: tensor(sample, [n, channels, height, width]),
        timestep: new ort.Tensor("int64", BigInt64Array.from(timesteps, BigInt), [n]),
        encoder_hidden_states: tensor(rows, [n, ...packed.rows]),
      });
      return result.data;
    },
    async decode(latents) {
      return (await decoder.run({ latents: tensor(latents, [1, channels, height, width]) })).result.data;
    },
  };
};

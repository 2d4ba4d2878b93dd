// Step 5: from rows to a picture, as StableDiffusionPipeline does it.
import { noise } from "./noise.js";
import { makeScheduler } from "./scheduler.js";

export const mix = (a, b, t) => a.map((v, i) => v + t * (b[i] - v));

// rows, emptyRows: (77, d). models: {unet, decode, config}. Returns pixels (3, side, side), 0 to 1,
// or null if it was stopped. told(done, preview) is awaited after every step.
export async function paint(models, rows, emptyRows, { seed, guidance, steps, told, stopped }) {
  const [channels, side] = models.config.latents, count = channels * side * side;
  const scheduler = makeScheduler(models.config.scheduler, steps);
  const guided = guidance > 1; // else the empty prompt is not looked at
  let x = noise(seed, count);
  for (const [n, t] of scheduler.timesteps.entries()) {
    const answers = guided
      ? await models.unet(join(x, x), [t, t], join(emptyRows, rows))
      : await models.unet(x, [t], rows);
    let answer = answers;
    if (guided) {
      // both answers, and beyond: away from the empty prompt's, toward the prompt's
      const empty = answers.subarray(0, count);
      answer = answers.subarray(count).map((v, i) => empty[i] + guidance * (v - empty[i]));
    }
    const { next, picture } = scheduler.step(answer, t, x);
    x = next;
    await told?.(n + 1, () => pixels(models, picture));
    if (stopped?.()) return null;
  }
  return pixels(models, x);
}

async function pixels(models, latents) {
  const { scaling_factor } = models.config;
  const decoded = await models.decode(latents.map((v) => v / scaling_factor));
  return decoded.map((v) => Math.min(1, Math.max(0, v / 2 + 0.5)));
}

function join(a, b) {
  const out = new Float32Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

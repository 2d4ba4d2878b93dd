import { mix, paint } from "./draw.js";
import { picture } from "./heat.js";
import { load } from "./weights.js";
import { $ } from "./parts.js";

let models = null; // loaded on the first click
let stopping = false, busy = false;

export function draw(model) {
  const size = Math.round(model.facts.draw_bytes / 1e6);
  $("draw-size").textContent = models
    ? "Loaded. The same seed and settings give the same picture again."
    : `The first click loads ${size} MB from where this page lies; it may take some seconds.`;
  $("go").textContent = models ? "Draw" : `Load ${size} MB and draw`;
}

export async function loadModels() {
  if (models) return models;
  await Promise.all([load("engine.js"), load("weights-draw.js")]);
  models = await globalThis.PLAYGROUND_ENGINE(globalThis.PLAYGROUND_DRAW);
  globalThis.PLAYGROUND_DRAW = null; // the text of the weights is not needed any more
  return models;
}

// What the U-Net reads: 77 rows, padding without a mask, as in Stable Diffusion.
export function rowsFor(model, { p, q, t }) {
  const rows = (text) => model.encode(text, { padding: "plain" }).rows;
  return t ? mix(rows(p), rows(q), t) : rows(p);
}

export function wire(model, current) {
  $("stop").onclick = () => (stopping = true);
  $("go").onclick = async () => {
    if (busy) return;
    [busy, stopping] = [true, false];
    [$("go").disabled, $("stop").disabled] = [true, false];
    const state = { ...current() }, say = (text) => ($("drawn").textContent = text);
    const steps = Math.min(1000, Math.max(1, Math.round(state.steps))), canvas = $("picture");
    $("progress").max = steps;
    $("progress").value = 0;
    try {
      say(models ? "Drawing …" : "Loading …");
      await pause();
      await loadModels();
      draw(model);
      say("Drawing …");
      const start = performance.now();
      const pixels = await paint(models, rowsFor(model, state), model.encode("", { padding: "plain" }).rows, {
        seed: state.seed, guidance: state.g, steps,
        async told(done, preview) {
          $("progress").value = done;
          if (done % 4 === 0 && done < steps) picture(canvas, await preview());
          await pause();
        },
        stopped: () => stopping,
      });
      const of = state.t ? `“${state.p}” and “${state.q}”, mixed` : `“${state.p}”`;
      if (pixels) picture(canvas, pixels);
      canvas.setAttribute("aria-label", pixels ? `A drawing of ${of}, seed ${state.seed}` : "An unfinished picture");
      say(pixels ? `Done: ${of}, seed ${state.seed}, in ${((performance.now() - start) / 1000).toFixed(1)} s.` : "Stopped.");
    } catch (error) {
      say(`That did not work: ${error.message}`);
    }
    busy = false;
    [$("go").disabled, $("stop").disabled] = [false, true];
  };
}

// Lets the browser draw and take a click before the next step.
const pause = () => new Promise((done) => setTimeout(done));

import { mix, paint } from "./draw.js";
import { picture } from "./heat.js";
import { load } from "./weights.js";
import { $, el, say } from "./parts.js";
import { KEYS, SEEDS } from "./state.js";

let models = null; // loaded on the first click
let stopping = false, busy = false;
let shown = null; // the settings of the picture that is seen; "" while it is not finished
const EARLIER = 6; // pictures kept for comparing

export function draw(model, state) {
  const size = Math.round(model.facts.draw_bytes / 1e6);
  const first = location.protocol === "file:"
    ? `The first picture takes some seconds longer: ${size} MB are read from this page's folder.`
    : `The first picture loads ${size} MB from this page's server.`;
  say("draw-size", models ? "The same seed and settings give the same picture again." : first);
  const changed = Boolean(shown) && shown !== settings(state);
  $("picture").classList.toggle("old", changed || (busy ? Boolean(shown) : shown === ""));
  say("hint", busy ? "" : changed ? "Settings changed: press Draw." : hint());
}

function hint() {
  if (shown === "") return "This picture is not finished: press Draw to begin again.";
  return shown ? "" : "Press Draw to make the picture of these settings. Who opens a link to them makes the same picture.";
}

// What a picture depends on; the second prompt counts only where it is mixed in.
function settings(state) {
  return JSON.stringify(KEYS.draw.map((key) => (key === "q" && !state.t ? "" : state[key])));
}

export async function loadModels() {
  if (models) return models;
  await Promise.all([load("engine.js"), load("weights-draw.js")]);
  models = await globalThis.PLAYGROUND_ENGINE(globalThis.PLAYGROUND_DRAW);
  globalThis.PLAYGROUND_DRAW = null; // the text of the weights is not needed any more
  return models;
}

// What the U-Net reads: 77 rows of the prompt and of the empty one, both padded alike.
// Stable Diffusion pads without a mask, "plain".
export function rowsFor(model, { p, q, t, dpad }) {
  const rows = (text) => model.encode(text, { padding: dpad }).rows;
  return { rows: t ? mix(rows(p), rows(q), t) : rows(p), empty: rows("") };
}

const subject = ({ p, q, t }) => (t ? `“${p}” and “${q}”, mixed (share of the second ${t})` : `“${p}”`);

function caption(state) {
  const { seed, g, steps, dpad } = state;
  return `${subject(state)}, seed ${seed}, guidance ${g}, ${steps} steps` + (dpad === "masked" ? ", padding with the mask" : "");
}

// The last pictures, the newest first, so that seeds and words can be compared.
function keep(state, pixels) {
  const canvas = el("canvas"), all = $("earlier");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `A drawing of ${caption(state)}`);
  picture(canvas, pixels);
  all.prepend(el("figure", {}, canvas, el("figcaption", {}, `${subject(state)}, seed\u00a0${state.seed}`)));
  while (all.children.length > EARLIER) all.lastChild.remove();
  $("kept").hidden = all.children.length < 2;
}

// Buttons that cannot be used now keep the focus: disabled ones would lose it.
function setBusy(now) {
  busy = now;
  for (const id of ["go", "next"]) $(id).setAttribute("aria-disabled", now);
  $("stop").setAttribute("aria-disabled", !now);
}

// current() gives the state, with what was typed last; change(news) changes it.
export function wire(model, current, change) {
  $("stop").onclick = () => (stopping = true);
  $("next").onclick = () => {
    if (busy) return;
    change({ seed: (current().seed + 1) % SEEDS });
    $("settings").requestSubmit();
  };
  $("settings").onsubmit = async (event) => {
    event.preventDefault();
    if (busy) return;
    stopping = false;
    setBusy(true);
    const state = { ...current() }, canvas = $("picture"), told = (text) => say("drawn", text);
    state.steps = Math.min(1000, Math.max(1, Math.round(state.steps)));
    const refresh = () => draw(model, current());
    refresh();
    $("progress").max = state.steps;
    $("progress").value = 0;
    $("progress").parentElement.scrollIntoView({ block: "nearest" }); // on a phone it lies below
    try {
      told(models ? "Drawing …" : "Loading …");
      await pause();
      await loadModels();
      refresh();
      told("Drawing …");
      const start = performance.now(), { rows, empty } = rowsFor(model, state);
      const pixels = await paint(models, rows, empty, {
        seed: state.seed, guidance: state.g, steps: state.steps,
        async told(done, preview) {
          $("progress").value = done;
          if (done % 4 === 0 && done < state.steps) {
            picture(canvas, await preview());
            canvas.setAttribute("aria-label", "An unfinished picture");
            shown = "";
            refresh();
          }
          await pause();
        },
        stopped: () => stopping,
      });
      if (pixels) {
        picture(canvas, pixels);
        canvas.setAttribute("aria-label", `A drawing of ${caption(state)}`);
        keep(state, pixels);
        shown = settings(state);
      }
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      told(pixels ? `Done: ${caption(state)}, in ${seconds}\u00a0s.` : "Stopped.");
    } catch (error) {
      told(`That did not work: ${error.message}`);
    }
    setBusy(false);
    refresh();
  };
}

// Lets the browser draw and take a click before the next step.
const pause = () => new Promise((done) => setTimeout(done));

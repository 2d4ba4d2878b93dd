// The page: fields, tabs, examples and the address. Each panel draws itself from the state.
import { makeModel } from "./model.js";
import { draw, loadModels, rowsFor, wire } from "./panel-draw.js";
import { nearest } from "./panel-nearest.js";
import { rows } from "./panel-rows.js";
import { tokens } from "./panel-tokens.js";
import { paint } from "./draw.js";
import { makeScheduler } from "./scheduler.js";
import { $, el, say } from "./parts.js";
import { KEYS, read, SEEDS, START, write } from "./state.js";

const PANELS = { tokens, rows, nearest, draw };
const FIELDS = {
  prompt: "p", second: "q", mixed: "q", pad: "pad", layer: "layer", head: "head", row: "row", out: "out",
  b: "b", c: "c", minus: "minus", plus: "plus", seed: "seed", g: "g", steps: "steps", t: "t",
  padded: "dpad",
};
const EXAMPLES = {
  tokens: [
    ["a photo of a cat", {}], ["rare words", { p: "an antidisestablishmentarian axolotl" }],
    ["emoji and accents", { p: "Café 🦄 naïve 你好" }], ["dirty text", { p: "  It’s   cafÃ© &amp;amp; TEA\n" }],
    ["too long", { p: `a ${"very ".repeat(80)}long prompt` }], ["nothing", { p: "" }],
  ],
  rows: [
    ["one word differs", { p: "a photo of a cat", q: "a photo of a dog" }],
    ["the first word differs", { p: "two cats", q: "some cats" }],
    ["does padding matter?", { p: "a red heart", q: "a blue heart", pad: "plain" }],
    ["now with the mask", { p: "a red heart", q: "a blue heart", pad: "masked" }],
  ],
  nearest: [
    ["pizza", { p: "pizza" }],
    ["king − man + woman", { p: "king", b: "man", c: "woman", minus: 1, plus: 1 }],
    ["doctor − man + woman", { p: "doctor", b: "man", c: "woman", minus: 1, plus: 1 }],
    ["prince − man + woman", { p: "prince", b: "man", c: "woman", minus: 1, plus: 1 }],
    ["red heart − red + blue", { p: "red heart", b: "red", c: "blue", minus: 1, plus: 1 }],
    ["cat + heart", { p: "cat", c: "heart", plus: 1 }],
  ],
  draw: [
    ["an animal", { p: "an animal" }], ["an animal, seed 2", { p: "an animal", seed: 2 }],
    ["an animal, no guidance", { p: "an animal", g: 1 }],
    ["a soft fox", { p: "a soft fox" }], ["a detailed fox", { p: "a detailed fox" }],
    ["a fox on a purple background", { p: "a fox on a purple background" }],
    ["a fox, padded with the mask", { p: "a fox", dpad: "masked" }],
    ["half fox, half frog", { p: "fox", q: "frog", t: 0.5 }],
    ["a cat and a rocket", { p: "a cat and a rocket" }],
  ],
};

let state, model, waiting, typed = {}; // typed: not yet taken over

function show() {
  for (const [id, key] of Object.entries(FIELDS)) {
    const field = $(id);
    const value = valueOf(field, key);
    const wrong = field === document.activeElement && !field.validity.valid; // a seed that is not whole yet
    if (!wrong && (field.value === "" || value !== state[key]) && (field.tagName !== "SELECT" || field.options.length)) field.value = state[key];
    const output = document.querySelector(`output[for="${id}"]`);
    if (output && output.textContent !== String(state[key])) output.textContent = state[key];
  }
  for (const name of Object.keys(PANELS)) {
    const chosen = name === state.panel, tab = $(`tab-${name}`);
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    $(name).hidden = !chosen || !model;
  }
  if (model) PANELS[state.panel](model, state);
}

function valueOf(field, key) {
  return typeof START[key] === "number" ? Number(field.value) || 0 : field.value;
}

// Takes over what was typed.
function commit() {
  clearTimeout(waiting);
  const news = typed;
  typed = {};
  change(news);
}

// An example sets all that belongs to its panel, so that nothing of an earlier one stays.
function example(panel, news) {
  change({ ...Object.fromEntries(KEYS[panel].map((key) => [key, START[key]])), ...news });
}

function change(news) {
  say("copied", "");
  Object.assign(state, news);
  try {
    history.replaceState(null, "", write(state));
  } catch {
    // a browser that refuses so many changes of the address: the next one will do
  }
  show();
}

function start() {
  state = fromAddress();
  for (const [id, key] of Object.entries(FIELDS))
    $(id).addEventListener("input", () => {
      if (!$(id).validity.valid) return; // a wrong seed: what was right before stays in the address
      typed[key] = valueOf($(id), key);
      clearTimeout(waiting); // computed when the typing pauses
      waiting = setTimeout(commit, 60);
    });
  for (const box of document.querySelectorAll("[data-examples]"))
    for (const [label, news] of EXAMPLES[box.dataset.examples])
      box.append(el("button", { type: "button", onclick: () => example(box.dataset.examples, news) }, label));

  const names = Object.keys(PANELS);
  for (const name of names) {
    $(`tab-${name}`).onclick = () => change({ panel: name });
    $(`tab-${name}`).onkeydown = ({ key }) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[key];
      const next = by ? names.at((names.indexOf(name) + by) % names.length) : { Home: names[0], End: names.at(-1) }[key];
      if (!next) return;
      change({ panel: next });
      $(`tab-${next}`).focus();
    };
  }
  addEventListener("hashchange", () => { state = fromAddress(); show(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  $("copy").onclick = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      say("copied", location.protocol === "file:" ? "Copied. This link works only on this computer." : "Copied.");
    } catch {
      say("copied", "Not allowed here: copy the address from the address bar.");
    }
  };
  show();
  setTimeout(ready, 20); // so that the page is seen before the weights are unpacked
}

function fromAddress() {
  const found = read(location.hash);
  if (!(found.panel in PANELS)) found.panel = START.panel;
  if (!["pooled", "projected"].includes(found.out)) found.out = START.out;
  if (!["none", "plain", "masked"].includes(found.pad)) found.pad = START.pad;
  if (!["plain", "masked"].includes(found.dpad)) found.dpad = START.dpad;
  if (!Number.isInteger(found.seed) || found.seed < 0 || found.seed >= SEEDS) found.seed = START.seed;
  return found;
}

function ready() {
  const packed = globalThis.PLAYGROUND_TEXT;
  if (!packed) {
    $("loading").textContent = "The weights are missing: build this page with 'make playground', and open build/playground/index.html.";
    return;
  }
  model = makeModel(packed);
  globalThis.PLAYGROUND_TEXT = null; // the text of the weights is not needed any more
  const { names, weights_lost: lost, worst_cosine: worst } = model.facts;
  $("facts").textContent =
    "Cleaning, tokenizer, text tower and search are plain JavaScript, without a library. The weights are packed in 16 bits, " +
    (lost ? `which changes a number by ${lost.toPrecision(2)} at most. ` : "as they are shipped, so nothing of them is lost. ") +
    `The vectors of the ${names} names are rounded to 16 bits: the worst cosine between one before and after is ${worst.toFixed(8)}.`;
  wire(model, () => {
    if (Object.keys(typed).length) commit();
    return state;
  }, change);
  globalThis.playground = {
    clean: model.clean, tokenize: (text) => model.tokenize(text).ids, encode: model.encode,
    nearest: (text, k, options = {}) => model.near(model.encode(text, options)[options.out ?? "projected"], k, options),
    makeScheduler,
    async paint(p, { seed = 0, guidance = 4, steps = 20, q = "", t = 0, padding = "plain" } = {}) {
      const models = await loadModels(), { rows, empty } = rowsFor(model, { p, q, t, dpad: padding });
      return paint(models, rows, empty, { seed, guidance, steps });
    },
  };
  $("loading").hidden = true;
  show();
}

start();

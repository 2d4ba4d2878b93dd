// All steps in a row, on the packed weights: what the panels and the browser's console use.
import { clean } from "./clean.js";
import { makeTokenizer, pad } from "./tokenizer.js";
import { encode } from "./tower.js";
import { untrainedTower } from "./untrained.js";
import { nearest, units } from "./nearest.js";
import { floats, table } from "./weights.js";

export function makeModel(packed) {
  const { config, names } = packed;
  const every = (group) => Object.fromEntries(Object.entries(group).map(([name, p]) => [name, floats(p)]));
  const tower = { config, token: table(packed.table), weights: every(packed.weights) };
  const vectors = {};
  for (const [name, values] of Object.entries(every(packed.vectors))) vectors[name] = units(values, config.width);
  const tokenizer = makeTokenizer(packed);
  let untrained;
  const kept = new Map(); // the same prompt is often asked for again

  const tokenize = (text) => tokenizer.tokenize(clean(text));

  // padding: "none", "plain" (77 rows, no mask) or "masked"
  function run(text, { padding = "none", trained = true } = {}) {
    const key = JSON.stringify([text, padding, trained]);
    if (!kept.has(key)) {
      let { ids } = tokenize(text), mask = null;
      const length = ids.length;
      if (padding !== "none") ({ ids, mask } = pad(ids, config));
      const chosen = trained ? tower : (untrained ??= untrainedTower(tower));
      if (kept.size > 40) kept.clear();
      kept.set(key, { ids, length, ...encode(chosen, ids, padding === "masked" ? mask : null) });
    }
    return kept.get(key);
  }

  function near(vector, k, { out = "projected", trained = true } = {}) {
    return nearest(vector, vectors[(trained ? "" : "untrained_") + out], k).map((f) => ({ ...f, name: names[f.index] }));
  }
  return { config, names, facts: packed.facts, clean, tokenize, show: tokenizer.show, encode: run, near };
}

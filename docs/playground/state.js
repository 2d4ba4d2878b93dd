// What the reader has set, kept in the address, so that a link carries it.

export const START = {
  panel: "tokens", p: "a photo of a cat", q: "a photo of a dog",
  pad: "none", layer: 1, head: 1, row: 0,
  out: "projected", b: "man", c: "woman", minus: 0, plus: 0,
  seed: 0, g: 4, steps: 20, t: 0, dpad: "plain", // the padding of the picture; pad is that of the rows
};

export const SEEDS = 2 ** 32; // a seed is below

// What belongs to a panel: an example sets all of it.
export const KEYS = {
  tokens: ["p"],
  rows: ["p", "q", "pad", "layer", "head", "row"],
  nearest: ["p", "out", "b", "c", "minus", "plus"],
  draw: ["p", "q", "seed", "g", "steps", "t", "dpad"],
};

export function read(hash) {
  const state = { ...START };
  for (const [key, value] of new URLSearchParams(hash.slice(1))) {
    if (!(key in START)) continue;
    if (typeof START[key] === "string") state[key] = value;
    else if (Number.isFinite(Number(value))) state[key] = Number(value);
  }
  return state;
}

// Only what differs from the start: short links.
export function write(state) {
  const changed = Object.entries(state).filter(([key, value]) => value !== START[key]);
  return `#${new URLSearchParams(changed)}`;
}

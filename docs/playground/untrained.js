// The control: a tower of the same shape that was never trained. Its numbers are made here, by the
// formulas of tools/playground/untrained.py, as small as in notebook 04.

const SPREAD = 0.02;

function hash(i, seed) {
  let h = (Math.imul(i, 0x9e3779b1) + Math.imul(seed, 0x85ebca77)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function normal(i, seed) {
  const u1 = (hash(i, 2 * seed) + 1) / 2 ** 32, u2 = hash(i, 2 * seed + 1) / 2 ** 32;
  return Math.sqrt(-2 * Math.log(u1)) * Math.cos(2 * Math.PI * u2);
}

// The seed of a tensor is its place in the list; the token table comes first, and is never whole.
export function untrainedTower({ config, weights }) {
  const made = {};
  Object.keys(weights).forEach((name, n) => {
    made[name] = weights[name].map((_, i) => {
      if (name.includes("norm") && name.endsWith("weight")) return 1;
      return name.includes("norm") || name.endsWith("bias") ? 0 : SPREAD * normal(i, n + 1);
    });
  });
  const token = (id) => Float32Array.from({ length: config.width }, (_, i) => SPREAD * normal(id * config.width + i, 0));
  return { config, token, weights: made };
}

// Step 4: which emoji's name points most nearly the same way?

export function unit(x) {
  const length = Math.hypot(...x);
  return length ? x.map((v) => v / length) : x;
}

// The rows of a table (n, d), each scaled to length 1.
export function units(table, d) {
  const out = new Float32Array(table.length);
  for (let a = 0; a < table.length; a += d) out.set(unit(table.subarray(a, a + d)), a);
  return out;
}

// a − b + c of unit vectors, b and c as strong as the sliders say
export function sum(a, b, c, minus, plus) {
  const [x, y, z] = [a, b, c].map((v) => v && unit(v));
  return x.map((v, i) => v - (y ? minus * y[i] : 0) + (z ? plus * z[i] : 0));
}

// [{index, cosine}], best first; candidates are units
export function nearest(query, candidates, k) {
  const q = unit(query), found = [];
  for (let index = 0; index * q.length < candidates.length; index++) {
    let cosine = 0;
    for (let i = 0; i < q.length; i++) cosine += q[i] * candidates[index * q.length + i];
    found.push({ index, cosine });
  }
  return found.sort((x, y) => y.cosine - x.cosine).slice(0, k);
}

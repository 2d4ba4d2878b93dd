// Step 3: CLIP's text tower, from ids to rows. Every array holds its rows one after another.
// The names are those of transformers' modeling_clip.py.

// x (rows, n) times a matrix (m, n), plus a bias (m): the only place where the work is.
function linear(x, weight, bias, n) {
  const m = weight.length / n, rows = x.length / n, out = new Float32Array(rows * m);
  for (let r = 0; r < rows; r++)
    for (let j = 0; j < m; j++) {
      let sum = bias ? bias[j] : 0;
      for (let i = 0, a = r * n, b = j * n; i < n; i++) sum += x[a + i] * weight[b + i];
      out[r * m + j] = sum;
    }
  return out;
}

// Each row to mean 0 and variance 1, then scaled and shifted by what was learned.
function layerNorm(x, weight, bias, epsilon) {
  const n = weight.length, out = new Float32Array(x.length);
  for (let a = 0; a < x.length; a += n) {
    const row = x.subarray(a, a + n);
    const mean = row.reduce((s, v) => s + v, 0) / n;
    const variance = row.reduce((s, v) => s + (v - mean) ** 2, 0) / n;
    for (let i = 0; i < n; i++) out[a + i] = ((row[i] - mean) / Math.sqrt(variance + epsilon)) * weight[i] + bias[i];
  }
  return out;
}

const add = (x, y) => x.map((v, i) => v + y[i]);
const quickGelu = (x) => x.map((v) => v / (1 + Math.exp(-1.702 * v)));

// Each row asks (query) all rows up to itself (keys), and takes a mean of their values.
function attend(q, k, v, { width, heads }, mask) {
  const rows = q.length / width, size = width / heads, out = new Float32Array(q.length);
  const weights = Array.from({ length: heads }, () => new Float32Array(rows * rows));
  for (let h = 0; h < heads; h++)
    for (let r = 0; r < rows; r++) {
      const a = weights[h].subarray(r * rows, r * rows + r + 1); // causal: nothing behind row r
      let largest = -Infinity, total = 0;
      for (let s = 0; s <= r; s++) {
        let dot = 0;
        for (let i = h * size; i < (h + 1) * size; i++) dot += q[r * width + i] * k[s * width + i];
        a[s] = mask && !mask[s] ? -Infinity : dot / Math.sqrt(size); // the mask hides padding
        largest = Math.max(largest, a[s]);
      }
      for (let s = 0; s <= r; s++) total += a[s] = Math.exp(a[s] - largest);
      for (let s = 0; s <= r; s++) {
        a[s] /= total;
        for (let i = h * size; i < (h + 1) * size; i++) out[r * width + i] += a[s] * v[s * width + i];
      }
    }
  return { out, weights };
}

// tower: {config, token: id -> row of the table, weights: name -> numbers}
// Returns every stage on the way, the attention of every layer and head, and the three outputs.
export function encode(tower, ids, mask = null) {
  const { config, token, weights: w } = tower, d = config.width;
  const table = new Float32Array(ids.length * d);
  ids.forEach((id, r) => table.set(token(id), r * d));
  let x = add(table, w["embeddings.position_embedding.weight"]);
  const stages = [["table", table], ["+ position", x]], attention = [];

  for (let n = 0; n < config.layers; n++) {
    const part = (x, name, width = d) =>
      linear(x, w[`encoder.layers.${n}.${name}.weight`], w[`encoder.layers.${n}.${name}.bias`], width);
    const norm = (x, name) =>
      layerNorm(x, w[`encoder.layers.${n}.${name}.weight`], w[`encoder.layers.${n}.${name}.bias`], config.epsilon);

    const y = norm(x, "layer_norm1");
    const { out, weights } = attend(
      part(y, "self_attn.q_proj"), part(y, "self_attn.k_proj"), part(y, "self_attn.v_proj"), config, mask);
    x = add(x, part(out, "self_attn.out_proj"));
    x = add(x, part(quickGelu(part(norm(x, "layer_norm2"), "mlp.fc1")), "mlp.fc2", 4 * d));
    stages.push([`layer ${n + 1}`, x]);
    attention.push(weights);
  }

  const rows = layerNorm(x, w["final_layer_norm.weight"], w["final_layer_norm.bias"], config.epsilon);
  stages.push(["final norm", rows]);
  const end = ids.indexOf(config.eos); // the first end mark: the only row that read all of the text
  const pooled = rows.slice(end * d, (end + 1) * d);
  const projected = linear(pooled, w["text_projection.weight"], null, d);
  return { stages, attention, rows, pooled, projected };
}

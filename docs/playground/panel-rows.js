import { heat, usual } from "./heat.js";
import { announce } from "./news.js";
import { $, chip, el, plural, say } from "./parts.js";

export function rows(model, state) {
  const [one, two] = [state.p, state.q].map((text) => model.encode(text, { padding: state.pad }));
  const shared = sharedRows(one, two, model.config.width);
  chips(model, one, state.p, "row-chips", shared);
  chips(model, two, state.q, "row-chips-2", shared);
  const all = shared === one.ids.length && shared === two.ids.length;
  tell("shared", all
    ? "Both prompts have the same rows, all of them."
    : `The first ${plural(shared, "row is", "rows are")} the same in both, number by number. ` +
      "What begins alike has the same rows: no row knows what comes after it.");
  padding(model, state);
  attention(model, state, one);
  path(model, one, state.p, "");
  path(model, two, state.q, "-2");
}

function tell(id, text) {
  say(id, text);
  announce(id, text);
}

// How many rows of the final norm are equal, counted from the first.
function sharedRows(one, two, width) {
  const length = Math.min(one.ids.length, two.ids.length);
  let row = 0;
  while (row < length && difference(one.rows, two.rows, row, row + 1, width) < 1e-6) row++;
  return row;
}

function difference(x, y, from, to, width) {
  let largest = 0;
  for (let i = from * width; i < to * width; i++) largest = Math.max(largest, Math.abs(x[i] - y[i]));
  return largest;
}

const PADS = 5; // so many are shown, the others counted

function chips(model, { ids, length }, text, id, shared) {
  const shown = ids.slice(0, length + PADS), more = ids.length - shown.length;
  const made = (token, row) => {
    const li = chip(model, token, { kind: row < shared ? "lit" : "unlit", withId: false });
    if (row >= length) li.textContent = "pad"; // the same id as the end mark
    if (row < shared) li.title = "same row in both prompts";
    return li;
  };
  $(id).setAttribute("aria-label", `Tokens of “${text}”`);
  $(id).replaceChildren(...shown.map(made));
  if (!more) return;
  const others = made(ids.at(-1), ids.length - 1);
  others.textContent = `pad × ${more}`;
  $(id).append(others);
}

function path(model, { stages, ids }, text, suffix) {
  $(`path-name${suffix}`).textContent = `“${text}”`;
  $(`path${suffix}`).replaceChildren(...stages.map(([name, x]) => {
    const canvas = el("canvas", { role: "img", style: { height: `${Math.max(56, ids.length * 2)}px` } });
    const [low, high] = [Math.min(...x), Math.max(...x)].map((v) => v.toFixed(2).replace("-", "−"));
    canvas.setAttribute("aria-label", `${name}: ${ids.length} rows of ${model.config.width} numbers, from ${low} to ${high}`);
    heat(canvas, x, model.config.width, usual(x));
    return el("figure", {}, canvas, el("figcaption", {}, `${name}: ${low} to ${high}`));
  }));
}

// The prompt in three ways: what changes in the rows of the text, and in those behind it?
function padding(model, state) {
  const way = (name) => model.encode(state.p, { padding: name }), width = model.config.width;
  const [none, plain, masked] = ["none", "plain", "masked"].map(way), { length } = none, all = plain.ids.length;
  const number = (v) => (v < 1e-6 ? "0 (equal)" : v.toFixed(2));
  const lines = [
    ["none / to 77 without mask", difference(none.rows, plain.rows, 0, length, width), null],
    ["to 77: without / with mask", difference(plain.rows, masked.rows, 0, length, width),
      length < all ? difference(plain.rows, masked.rows, length, all, width) : null],
  ];
  tell("verdict", verdict(Math.max(lines[0][1], lines[1][1]), lines[1][2]));
  $("padding").replaceChildren(
    el("caption", { style: { "text-align": "left", "padding-bottom": ".4rem" } },
      `Largest difference of any number in the final rows of “${state.p.slice(0, 60)}”`),
    el("thead", {}, el("tr", {}, ...["compared", "rows of the text", "rows of the padding"].map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, ...lines.map(([name, text, rest]) =>
      el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, number(text)), el("td", {}, rest === null ? "none to compare" : number(rest))))));
}

// text: the largest change of the text's rows; rest: what the mask changes in the padding's rows
function verdict(text, rest) {
  const first = text < 1e-6
    ? "To the text's rows: no, they are the same with no padding, padding, or padding with mask. They come first, so they never see it."
    : `To the text's rows: yes, they change by up to ${text.toFixed(2)}.`;
  if (rest === null) return `${first} This text fills all 77 rows, so nothing is padded.`;
  if (rest < 1e-6) return `${first} To the padding's rows: no, the mask leaves them as they are.`;
  return `${first} To the padding's rows: yes, the mask changes them (by up to ${rest.toFixed(2)}). ` +
    "Stable Diffusion reads all 77 rows, so a picture can change: try it under Draw.";
}

function attention(model, state, one) {
  const { layers, heads } = model.config, count = one.ids.length;
  const layer = clamp(state.layer, 1, layers), head = clamp(state.head, 1, heads);
  const row = state.row < 1 ? one.length : clamp(state.row, 1, count); // 0 stands for the end mark's row
  choices("layer", layers, layer);
  choices("head", heads, head);
  const name = (n) => (n >= one.length ? "padding" : n === 0 ? "start" : n === one.length - 1 ? "end" : model.show(one.ids[n]));
  choices("row", count, row, (n) => `${n}: ${name(n - 1)}`);
  const weights = one.attention[layer - 1][head - 1];
  heat($("attention"), weights.map(Math.sqrt), count, 1); // the root, so that small shares can be seen
  $("attention").setAttribute("aria-label",
    `Attention of layer ${layer}, head ${head}: ${count} rows (down) look at ${count} rows (across). Nothing lies above the diagonal.`);
  $("head-help").textContent = `A head is one of ${heads} attention patterns of a layer.`;
  const seen = Array.from(weights.subarray((row - 1) * count, row * count), (share, n) => ({ share, n }));
  seen.sort((x, y) => y.share - x.share);
  const best = seen.filter(({ share }) => share > 0.005).slice(0, 6);
  const most = best[0].n + 1, itself = most === row ? "itself, " : "";
  tell("looks", `Layer ${layer}, head ${head}: row ${row} (${name(row - 1)}) ` + (row === 1
    ? "looks only at itself: there is nothing before it."
    : `looks most at ${itself}row ${most} (${name(most - 1)}).`));
  $("looks-at").replaceChildren(...best.map(({ share, n }) =>
    el("li", { style: { "--share": `${100 * share}%` } }, `${Math.round(100 * share)} %  row ${n + 1}: ${name(n)}`)));
}

const clamp = (v, low, high) => Math.min(high, Math.max(low, Math.round(v)));

function choices(id, count, chosen, label = String) {
  $(id).replaceChildren(...Array.from({ length: count }, (_, n) => el("option", { value: n + 1 }, label(n + 1))));
  $(id).value = chosen;
}

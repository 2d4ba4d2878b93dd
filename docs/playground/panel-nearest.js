import { sum } from "./nearest.js";
import { $, el } from "./parts.js";

export function nearest(model, state) {
  const { out, minus, plus } = state;
  const [a, b, c] = [state.p, state.b, state.c].map((text) => `“${text.trim().slice(0, 60)}”`);
  $("formula").textContent = `nearest to ${a}` + (minus ? ` − ${weight(minus)}${b}` : "") + (plus ? ` + ${weight(plus)}${c}` : "");
  for (const [id, trained] of [["found", true], ["found-untrained", false]]) {
    const vector = (text) => model.encode(text, { trained })[out];
    const query = sum(vector(state.p), minus ? vector(state.b) : null, plus ? vector(state.c) : null, minus, plus);
    $(id).replaceChildren(...model.near(query, 6, { out, trained }).map(({ index, name, cosine }) => {
      const [column, line] = [index % 42, Math.floor(index / 42)]; // the sheet has 42 drawings in a line
      const drawing = el("i", { style: { "background-position": `${-42 * column}px ${-42 * line}px` } });
      return el("li", {}, drawing, el("span", {}, name), el("small", { title: "cosine" }, cosine.toFixed(2)));
    }));
  }
}

const weight = (w) => (w === 1 ? "" : `${w} × `);

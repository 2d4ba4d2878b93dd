import { announce } from "./news.js";
import { sum } from "./nearest.js";
import { $, el, say } from "./parts.js";

export function nearest(model, state) {
  const { out, minus, plus } = state;
  const [a, b, c] = [state.p, state.b, state.c].map((text) => named(text.trim()));
  say("formula", `nearest to ${a}` + (minus ? ` − ${weight(minus)}${b}` : "") + (plus ? ` + ${weight(plus)}${c}` : ""));
  $("signs").hidden = !/\s[-−–+]\s/.test(state.p);
  say("searched", `Names searched: ${model.names.length}.`);
  const first = {};
  for (const [id, trained] of [["found", true], ["found-untrained", false]]) {
    const vector = (text) => model.encode(text, { trained })[out];
    const query = sum(vector(state.p), minus ? vector(state.b) : null, plus ? vector(state.c) : null, minus, plus);
    const near = model.near(query, 6, { out, trained });
    first[id] = `${near[0].name} ${near[0].cosine.toFixed(2)}`;
    $(id).replaceChildren(...near.map(({ index, name, cosine }) => {
      const [column, line] = [index % 42, Math.floor(index / 42)]; // the sheet has 42 drawings in a line
      const drawing = el("i", { style: { "background-position": `${-42 * column}px ${-42 * line}px` } });
      return el("li", {}, drawing, el("span", {}, name), el("small", {}, el("b", { className: "unseen" }, "cosine "), cosine.toFixed(2)));
    }));
  }
  announce("nearest", `Nearest: ${first.found}; untrained: ${first["found-untrained"]}.`);
}

const named = (text) => (text ? `“${text.slice(0, 60)}”` : "the empty prompt, only its two marks");

const weight = (w) => (w === 1 ? "" : `${w} × `);

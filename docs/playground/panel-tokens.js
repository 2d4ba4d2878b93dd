import { announce } from "./news.js";
import { $, chip, plural, say } from "./parts.js";

export function tokens(model, state) {
  const cleaned = model.clean(state.p), { ids, lost } = model.tokenize(state.p);
  $("cleaned").textContent = cleaned || "(nothing: the empty prompt)";
  const text = ids.length - 2, places = model.config.positions;
  const count =
    `${plural(text, "token")} of text between a start and an end mark: ${ids.length} of ${places} places` +
    (lost.length ? `; ${plural(lost.length, "token does", "tokens do")} not fit.` : ".");
  say("token-count", count);
  announce("tokens", count);
  $("bytes").hidden = ![...ids, ...lost].some((id) => /^(<[0-9a-f]{2}>)+$/.test(model.show(id)));
  $("chips").replaceChildren(...ids.map((id) => chip(model, id)));
  $("lost").hidden = !lost.length;
  $("lost").querySelector("ol").replaceChildren(...lost.slice(0, 300).map((id) => chip(model, id)));
}

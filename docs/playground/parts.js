// Pieces of the page that several panels need.

export const $ = (id) => document.getElementById(id);

export function el(tag, properties = {}, ...children) {
  const { style, ...rest } = properties, made = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(style ?? {})) made.style.setProperty(name, value);
  made.append(...children);
  return made;
}

// A colour for each token, always the same: the golden angle sets neighbours far apart.
export function chip(model, id, { kind = "", withId = true } = {}) {
  const mark = id >= model.config.bos;
  const text = mark ? (id === model.config.bos ? "start" : "end") : model.show(id);
  return el("li", { className: `${mark ? "mark" : ""} ${kind}`, style: { "--hue": Math.round((id * 137.508) % 360) } },
    text, ...(withId ? [el("small", {}, String(id))] : []));
}

// A status is read aloud when it is written, so it is written only when it says something new.
export function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

export const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

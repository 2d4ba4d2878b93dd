// Small pictures of numbers: one pixel each, blue below zero, orange above.

const mixed = (from, to, t) => from.map((v, i) => v + (to[i] - v) * t);
const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;

// values (rows, columns); those of the size of `top` and beyond get the full colour
export function heat(canvas, values, columns, top) {
  canvas.width = columns;
  canvas.height = values.length / columns;
  const image = new ImageData(columns, canvas.height), zero = dark() ? [28, 31, 37] : [255, 255, 255];
  values.forEach((v, i) => {
    const end = v < 0 ? [33, 102, 172] : dark() ? [251, 146, 60] : [194, 65, 12];
    image.data.set([...mixed(zero, end, Math.min(1, Math.abs(v) / top)), 255], 4 * i);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// A size that few numbers exceed, so that one large number does not make all others pale.
export function usual(values) {
  const sizes = Float32Array.from(values, Math.abs).sort();
  return sizes[Math.floor(0.98 * (sizes.length - 1))] || 1;
}

// pixels (3, side, side), 0 to 1
export function picture(canvas, pixels) {
  const side = Math.sqrt(pixels.length / 3), image = new ImageData(side, side);
  for (let i = 0; i < side * side; i++)
    image.data.set([0, 1, 2].map((c) => Math.round(255 * pixels[c * side * side + i])).concat(255), 4 * i);
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// From the packed text to numbers. tools/playground/pack.py wrote it: base64, so that a page
// opened from file:// can load it as a script.

export function bytes(base64) {
  const text = atob(base64);
  const out = new Uint8Array(text.length);
  for (let i = 0; i < out.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

// Half precision, by its definition: 1 bit sign, 5 bits exponent, 10 bits fraction.
const HALF = new Float32Array(65536);
for (let h = 0; h < 65536; h++) {
  const sign = h & 0x8000 ? -1 : 1, exponent = (h >> 10) & 31, fraction = h & 1023;
  HALF[h] = sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

export function floats(packed) {
  const halves = new Uint16Array(bytes(packed.float16).buffer);
  return Float32Array.from(halves, (h) => HALF[h]);
}

// The token table is large, so only the rows that are asked for are turned into numbers.
export function table(packed) {
  const halves = new Uint16Array(bytes(packed.float16).buffer), width = packed.shape[1];
  return (id) => Float32Array.from(halves.subarray(id * width, (id + 1) * width), (h) => HALF[h]);
}

// A script that is loaded when it is wanted.
export function load(address) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = done;
    script.onerror = () => failed(new Error(`${address} could not be loaded.`));
    document.head.append(script);
  });
}

// The noise that a seed means: torch.Generator().manual_seed(seed), then torch.randn(count) on a
// CPU. So a seed gives the same start here as in the notebooks.

// The Mersenne Twister of Matsumoto and Nishimura, 1998.
function twister(seed) {
  const s = new Uint32Array(624);
  s[0] = seed;
  for (let i = 1; i < 624; i++) s[i] = Math.imul(1812433253, s[i - 1] ^ (s[i - 1] >>> 30)) + i;
  let place = 624;
  return () => {
    if (place === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (s[i] & 0x80000000) | (s[(i + 1) % 624] & 0x7fffffff);
        s[i] = s[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      place = 0;
    }
    let y = s[place++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

// Box and Muller's formula, on 16 numbers at a time, as torch has it. count is a multiple of 16.
export function noise(seed, count) {
  const next = twister(seed), out = new Float32Array(count);
  for (let i = 0; i < count; i++) out[i] = (next() & 0xffffff) / 2 ** 24;
  for (let start = 0; start < count; start += 16)
    for (let i = start; i < start + 8; i++) {
      const radius = Math.sqrt(-2 * Math.log(1 - out[i])), angle = 2 * Math.PI * out[i + 8];
      out[i] = radius * Math.cos(angle);
      out[i + 8] = radius * Math.sin(angle);
    }
  return out;
}

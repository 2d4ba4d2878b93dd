// Step 2: from a cleaned caption to ids, by byte pair encoding.

const WORD = /'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/gu;
const END = "</w>"; // marks the last piece of a word

// Every byte gets a letter that can be seen: printable ones themselves, the others from 256 on.
function letters() {
  const plain = [];
  for (let b = 0; b < 256; b++) if ((b > 32 && b < 127) || (b > 160 && b !== 173)) plain.push(b);
  const rest = [...Array(256).keys()].filter((b) => !plain.includes(b));
  const byByte = [];
  plain.forEach((b) => (byByte[b] = String.fromCharCode(b)));
  rest.forEach((b, n) => (byByte[b] = String.fromCharCode(256 + n)));
  return { byByte, inOrder: [...plain, ...rest].map((b) => byByte[b]) };
}

export function makeTokenizer({ merges, config }) {
  const { byByte, inOrder } = letters();
  const pairs = merges.split("\n");
  const rank = new Map(pairs.map((pair, n) => [pair, n])); // which pair was merged first in training
  // The vocabulary: 256 bytes, 256 bytes that end a word, what each merge makes, two marks.
  const pieces = [...inOrder, ...inOrder.map((c) => c + END), ...pairs.map((p) => p.replace(" ", ""))];
  pieces.push("<|startoftext|>", "<|endoftext|>");
  const idOf = new Map(pieces.map((piece, id) => [piece, id]));
  const byteOf = new Map(byByte.map((letter, byte) => [letter, byte]));

  // Merge the pair of the lowest rank, wherever it stands, until no known pair is left.
  function split(word) {
    let parts = Array.from(new TextEncoder().encode(word), (byte) => byByte[byte]);
    parts[parts.length - 1] += END;
    while (parts.length > 1) {
      let best = Infinity, left = "", right = "";
      for (let i = 0; i + 1 < parts.length; i++) {
        const r = rank.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
        if (r < best) [best, left, right] = [r, parts[i], parts[i + 1]];
      }
      if (best === Infinity) break;
      const merged = [];
      for (let i = 0; i < parts.length; i++) {
        if (parts[i] === left && parts[i + 1] === right) merged.push(left + parts[++i]);
        else merged.push(parts[i]);
      }
      parts = merged;
    }
    return parts.map((part) => idOf.get(part));
  }

  // {ids: start, at most 75 tokens, end; lost: the ids that did not fit}
  function tokenize(text) {
    const words = text.normalize("NFC").toLowerCase().match(WORD) ?? [];
    const all = words.flatMap(split), room = config.positions - 2;
    return { ids: [config.bos, ...all.slice(0, room), config.eos], lost: all.slice(room) };
  }

  // A piece as a reader knows it. Half a character is shown by its bytes.
  function show(id) {
    if (id >= config.bos) return pieces[id];
    const piece = pieces[id].replace(END, "");
    const bytes = Uint8Array.from(piece, (letter) => byteOf.get(letter));
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      return Array.from(bytes, (b) => `<${b.toString(16)}>`).join("");
    }
  }
  return { tokenize, show, endsWord: (id) => pieces[id].endsWith(END), size: pieces.length };
}

// Padding: Stable Diffusion fills up with the end mark. The mask is 1 where there is text.
export function pad(ids, { positions, eos }) {
  const empty = positions - ids.length;
  return {
    ids: [...ids, ...Array(empty).fill(eos)],
    mask: [...ids.map(() => 1), ...Array(empty).fill(0)],
  };
}

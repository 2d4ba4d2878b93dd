// Step 1: a caption as OpenAI's tokenizer prepares it: repair, undo HTML, one space, lower case.
// The repairs are those of ftfy that matter for captions. Its rules for text that was read in the
// wrong encoding are longer; here it is repaired where it is UTF-8 that was read as Windows-1252.

export function clean(text) {
  text = repair(text);
  text = unescape(unescape(text));
  return text.split(/[\s\x1c-\x1f\x85]+/u).filter(Boolean).join(" ").toLowerCase();
}

function repair(text) {
  // ftfy undoes HTML entities too, unless there is a "<"
  for (let before = null; before !== text; ) {
    before = text;
    if (!text.includes("<")) text = unescape(text);
    text = wrongEncoding(text);
    text = text.replace(/\x1b\[[\d;]*[A-Za-z]/g, ""); // colours of a terminal
    text = text.replace(/[ĲĳŉǄ-ǌǱ-ǳﬀ-ﬆ]/g, (c) => c.normalize("NFKD").normalize("NFC"));
    text = text.replace(/[\uff01-\uffef\u3000]/g, (c) => c.normalize("NFKC")); // full and half width
    text = text.replace(/[\u02bc\u2018-\u201b]/g, "'").replace(/[\u201c-\u201f]/g, '"');
    text = text.replace(/\r\n|[\r\u2028\u2029\x85]/g, "\n");
    text = text.replace(/[\x00-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]/g, "");
    text = text.normalize("NFC");
  }
  return text;
}

// What Windows-1252 makes of the bytes 0x80 to 0x9f; the other characters are their own numbers.
const WINDOWS = "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ";

const codeOf = (c) => (WINDOWS.includes(c) ? 128 + WINDOWS.indexOf(c) : c.codePointAt(0));
const TAIL = `[\\x80-\\xbf${WINDOWS}]`;
const BROKEN = new RegExp(`[\xc2-\xdf]${TAIL}|[\xe0-\xef]${TAIL}{2}|[\xf0-\xf4]${TAIL}{3}`, "gu");

function wrongEncoding(text) {
  return decoded(text) ?? text.replace(BROKEN, (part) => decoded(part) ?? part);
}

function decoded(text) {
  const codes = Array.from(text, codeOf);
  if (codes.some((code) => code > 255)) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(codes));
  } catch {
    return null; // not UTF-8, so it was what it seems to be
  }
}

// Python's html.unescape: the pattern is its own, the meanings are the browser's, which are the same.
const ENTITY = /&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/g;
const reader = globalThis.document?.createElement("textarea");

export function unescape(text) {
  return text.replace(ENTITY, (entity) => {
    reader.innerHTML = entity;
    return reader.value;
  });
}

// JSON whose numbers keep their digits, and laid out so that a row is a line.

/** Parse; numbers that would be written otherwise (5.0, 2^53 + 1) keep their digits, where the browser can. */
export function parseJson(text) {
  return JSON.parse(text, (_key, value, context) => {
    const isChanged = typeof value === "number" && context?.source !== String(value);
    return isChanged && JSON.rawJSON && context ? JSON.rawJSON(context.source) : value;
  });
}

/** Whether the value is a number kept by its digits. */
export const isRaw = (value) => Boolean(JSON.isRawJSON?.(value));

/** The value as JSON on one line. */
export const oneLine = (value) => spaced(JSON.stringify(value));

/** The value as JSON: what is short stands on one line, all else is indented. */
export function pretty(value, indent = "") {
  const flat = oneLine(value);
  const isFlat = value === null || typeof value !== "object" || isRaw(value);
  if (isFlat || (flat.length + indent.length <= 72 && depth(value) < 2)) return flat;
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const parts = value.map((each) => inner + pretty(each, inner));
    return `[\n${parts.join(",\n")}\n${indent}]`;
  }
  const parts = Object.entries(value).map(
    ([key, each]) => `${inner}${JSON.stringify(key)}: ${pretty(each, inner)}`,
  );
  return `{\n${parts.join(",\n")}\n${indent}}`;
}

function depth(value) {
  if (value === null || typeof value !== "object" || isRaw(value)) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depth));
}

/** Put a space after the commas and colons that are not inside of strings. */
function spaced(text) {
  return text.replace(/("(?:[^"\\]|\\.)*")|([,:])/g, (_all, string, mark) => string ?? `${mark} `);
}

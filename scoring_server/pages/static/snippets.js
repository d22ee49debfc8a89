// The request as code, for people who want to send it from elsewhere.

import { hasToken, root } from "./api.js";

/** The request with this JSON in "curl", "python" or "javascript". The token is never in it. */
export function snippet(language, json) {
  const url = new URL("invocations", root).href;
  return MAKERS[language](url, json.trim(), hasToken());
}

const MAKERS = {
  curl(url, json, needsToken) {
    const lines = [`curl ${shellQuoted(url)}`, "-H 'Content-Type: application/json'"];
    if (needsToken) lines.push('-H "Authorization: Bearer $TOKEN"');
    lines.push(`-d ${shellQuoted(json)}`);
    return lines.join(" \\\n  ");
  },

  python(url, json, needsToken) {
    const headers = needsToken
      ? '    headers={"Authorization": "Bearer " + os.environ["TOKEN"]},\n' : "";
    return (needsToken ? "import os\n\n" : "") + `import requests

body = ${pythonLiteral(json)}
answer = requests.post(
    ${JSON.stringify(url)},
    json=body,
${headers}    timeout=60,
)
answer.raise_for_status()
print(answer.json())`;
  },

  javascript(url, json, needsToken) {
    const token = needsToken ? "\n    Authorization: `Bearer ${process.env.TOKEN}`," : "";
    return `const answer = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",${token}
  },
  body: JSON.stringify(${json.replaceAll("\n", "\n  ")}),
});
if (!answer.ok) throw new Error(await answer.text());
console.log(await answer.json());`;
  },
};

function shellQuoted(text) {
  return /^[\w/:.,@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** JSON as Python has it: its three words, outside of strings. */
function pythonLiteral(json) {
  const words = { true: "True", false: "False", null: "None" };
  return json.replace(
    /("(?:[^"\\]|\\.)*")|\b(true|false|null)\b/g, (_all, string, word) => string ?? words[word],
  );
}

// The API, as the page asks it.

const BASE = "/api/v1/";

export class Refusal extends Error {
  constructor(what, todo) {
    super(what);
    this.todo = todo;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(BASE + path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server can't be reached", "Look whether mmgraph serve still runs, and try again.");
  }
  let body;
  try {
    body = await answer.json();
  } catch {
    throw new Refusal(`The server answered ${answer.status}, without a word`, "Wait a moment, and try again.");
  }
  if (!answer.ok) throw new Refusal(body.what, body.do);
  return body;
}

export const describe = () => ask("describe");

export const neighbours = (node, id, limit, signal) =>
  ask(`node/${encodeURIComponent(id)}/neighbours?${new URLSearchParams({ type: node, limit })}`, { signal });

// `parts` are pairs of a node type and a text or a blob.
export function search({ parts, like, k, where }, signal) {
  const form = new FormData();
  if (like !== null) form.append("id", like);
  for (const [node, value] of parts) form.append(`node.${node}`, value);
  form.append("k", k);
  form.append("where", JSON.stringify(where));
  return ask("search", { method: "POST", body: form, signal });
}

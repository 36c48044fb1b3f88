// Elements for what there is to see. Words from the graph become text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const html = (tag, attributes = {}, ...children) => build(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) =>
  build(document.createElementNS(SVG, tag), attributes, children);

export const short = (text, limit) => {
  const letters = Array.from(text.replace(/\s+/g, " ").trim());
  return letters.length <= limit ? letters.join("") : letters.slice(0, limit - 1).join("") + "…";
};

export const WORDS = { image: ["picture", "pictures"], audio: ["sound", "sounds"], text: ["text", "texts"] };

export function player(url, what) {
  const audio = html("audio", { controls: true, preload: "metadata", src: url, "aria-label": what });
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
  });
  return audio;
}

const picture = (url, alt, side = 320) => html("img", { src: `${url}?side=${side}`, alt });

export function payload(node, side) {
  const { kind, text, url } = node.payload;
  if (kind === "image" && url) return picture(url, `${node.node}, ${text}`, side);
  if (kind === "audio" && url) return player(url, `${node.node}, ${text}`);
  if (kind === "text") return html("p", { class: "text", dir: "auto" }, text);
  return text ? html("p", { class: "data", dir: "auto" }, node.modality ? `${node.node}: ${text}` : text) : null;
}

function bars(why, lacks, colour) {
  const none = lacks.flatMap((query) => [
    html("span", {}, query),
    html("div", { class: "track", "aria-hidden": "true" }),
    html("span", { class: "number" }, "none"),
  ]);
  const rows = why.flatMap(({ query, node, similarity, walk }) => {
    const part = html("div", { class: "part" });
    part.style.width = `${Math.max(0, Math.min(1, similarity)) * 100}%`;
    const via = walk.length ? `, by ${walk.join(", ")}` : "";
    return [
      html("span", {}, `${query}${via}`),
      html("div", { class: `track ${colour(node)}`, "aria-hidden": "true" }, part),
      html("span", { class: "number" }, similarity.toFixed(2)),
    ];
  });
  return html("div", { class: "why", role: "group", "aria-label": "Why it matched" }, ...rows, ...none);
}

export function result(found, place, { colour, queries, onwalk, onlike }) {
  const lacks = queries.filter((query) => !found.why.some((one) => one.query === query));
  const shown = found.nodes.filter((node) => node.payload.kind !== "none");
  const tags = Object.entries(found.metadata).filter(([, value]) => value !== null && value !== "");
  const name = html("button", { type: "button", dir: "auto", onclick: onwalk, title: "Draw its neighbourhood" }, found.label);
  const like = html("button", { type: "button", class: "like", onclick: onlike, "aria-label": `More like ${found.label}` }, "More like this");
  return html(
    "li",
    {},
    html(
      "article",
      { class: "card result", "data-row": found.row },
      html(
        "h3",
        {},
        html("span", { class: "rank", "aria-hidden": "true" }, String(place + 1)),
        name,
        html("span", { class: "score", title: "Score" }, found.score.toFixed(3)),
      ),
      html("div", { class: "items" }, ...shown.map((node) => payload(node, 320))),
      tags.length
        ? html(
            "ul",
            { class: "tags" },
            ...tags.map(([key, value]) => html("li", {}, `${key}: `, html("bdi", {}, short(String(value), 60)))),
          )
        : null,
      bars(found.why, lacks, colour),
      like,
    ),
  );
}

// What a node stands for, and what hangs on it as far as that is known.
export function example(node, onwalk) {
  const face = node.face ? html("img", { src: `${node.face}?side=96`, alt: "" }) : null;
  return html("li", {}, html("button", { type: "button", onclick: onwalk }, face, html("bdi", {}, short(node.label, 48))));
}

export function detail(node, hanging) {
  const shown = [...hanging, node].map((one) => payload(one, 320)).filter(Boolean);
  const face = node.face && !hanging.some((one) => one.payload.kind === "image") ? [picture(node.face, node.label)] : [];
  return [
    html("h3", { dir: "auto" }, short(node.label, 80), " ", html("small", {}, node.node)),
    html("div", { class: "items" }, ...face, ...shown),
  ];
}

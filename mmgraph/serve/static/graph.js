// A neighbourhood, drawn: nodes are buttons that can be reached by arrow keys, and walked to.

import { short, svg } from "./show.js";

const RADIUS = 18;
const CENTRE = 26;
const CROWD = 26; // nodes from which on names are shown on request
const NARROW = 480; // pixels
const STEPS = 240;
const SIGNS = { audio: "♪", text: "¶", data: "≡" };

export const keyOf = (node) => `${node.node}/${node.row}`;

// Places in a box: the first node in the middle, those joined to it around, none on top of another.
export function layout(count, edges, width, height) {
  const x = new Float64Array(count);
  const y = new Float64Array(count);
  const [halfX, halfY] = [width / 2 - 44, height / 2 - 44];
  const depth = new Array(count).fill(2);
  depth[0] = 0;
  for (const { source, target } of edges) {
    if (source === 0 && target !== 0) depth[target] = 1;
    if (target === 0 && source !== 0) depth[source] = 1;
  }
  for (let i = 1; i < count; i++) {
    const turn = (i / Math.max(1, count - 1)) * 2 * Math.PI - Math.PI / 2;
    const far = depth[i] === 1 ? 0.6 : 0.95;
    x[i] = Math.cos(turn) * halfX * far;
    y[i] = Math.sin(turn) * halfY * far;
  }
  const room = Math.sqrt((4 * halfX * halfY) / Math.max(2, count));
  for (let step = 0; step < STEPS; step++) {
    const dx = new Float64Array(count);
    const dy = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      for (let j = i + 1; j < count; j++) {
        const [ax, ay] = [x[i] - x[j] || 0.01, y[i] - y[j] || 0.01];
        const square = Math.max(ax * ax + ay * ay, 1);
        const push = ((i === 0 ? 2.5 : 1) * room * room) / square;
        dx[i] += ax * push; dy[i] += ay * push;
        dx[j] -= ax * push; dy[j] -= ay * push;
      }
    }
    for (const { source, target } of edges) {
      if (source === target) continue;
      const [ax, ay] = [x[source] - x[target], y[source] - y[target]];
      const pull = ((source === 0 || target === 0 ? 1 : 0.3) * Math.hypot(ax, ay)) / room;
      dx[source] -= ax * pull; dy[source] -= ay * pull;
      dx[target] += ax * pull; dy[target] += ay * pull;
    }
    const heat = 24 * (1 - step / STEPS) + 0.5;
    for (let i = 1; i < count; i++) {
      const size = Math.hypot(dx[i], dy[i]) || 1;
      const move = Math.min(size, heat) / size;
      x[i] = Math.max(-halfX, Math.min(halfX, x[i] + dx[i] * move));
      y[i] = Math.max(-halfY, Math.min(halfY, y[i] + dy[i] * move));
    }
  }
  part(x, y, Math.min(66, room * 0.9), halfX, halfY);
  return Array.from(x, (value, i) => [value + width / 2, y[i] + height / 2]);
}

// Pushes apart what is nearer than a distance; the first stays where it is.
function part(x, y, least, halfX, halfY) {
  for (let round = 0; round < 40; round++) {
    for (let i = 0; i < x.length; i++) {
      for (let j = i + 1; j < x.length; j++) {
        const [ax, ay] = [x[i] - x[j] || 0.01, y[i] - y[j] || 0.01];
        const lacks = (i === 0 ? 1.2 : 1) * least - Math.hypot(ax, ay);
        if (lacks <= 0) continue;
        const [mx, my] = [(ax / Math.hypot(ax, ay)) * lacks / 2, (ay / Math.hypot(ax, ay)) * lacks / 2];
        if (i > 0) { x[i] += mx; y[i] += my; }
        x[j] -= mx; y[j] -= my;
      }
    }
    for (let i = 1; i < x.length; i++) {
      x[i] = Math.max(-halfX, Math.min(halfX, x[i]));
      y[i] = Math.max(-halfY, Math.min(halfY, y[i]));
    }
  }
}

export class Drawing {
  constructor(root, { colour, onwalk, onlook, onleave }) {
    Object.assign(this, { root, colour, onwalk, onlook, onleave, nodes: [], edges: [], places: [] });
    this.marks = new Map(); // key → element; a node that stays moves to its new place
    root.addEventListener("keydown", (event) => this.key(event));
  }

  draw({ nodes, edges }) {
    const width = Math.max(280, Math.round(this.root.getBoundingClientRect().width || 600));
    const height = Math.round(width < NARROW ? width * 1.2 : Math.min(width * 0.8, 520));
    this.narrow = width < NARROW;
    Object.assign(this, { nodes, edges, places: layout(nodes.length, edges, width, height) });
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.root.setAttribute("aria-label", `${nodes[0].label} and ${nodes.length - 1} nodes around it`);
    this.root.classList.toggle("crowded", nodes.length > CROWD);
    const before = this.marks;
    this.marks = new Map();
    nodes.forEach((node, place) => {
      const key = keyOf(node);
      this.marks.set(key, this.mark(node, place, before.get(key)));
    });
    this.lines = svg("g", { class: "edges" }, ...this.straight());
    this.names = svg("g");
    const kept = document.activeElement;
    for (const [key, old] of before) if (this.marks.get(key) !== old) old.remove();
    this.root.querySelectorAll(":scope > .edges, :scope > .names").forEach((old) => old.remove());
    this.root.prepend(this.lines);
    this.names.classList.add("names");
    for (const mark of this.marks.values()) if (mark.parentNode !== this.root) this.root.append(mark);
    this.root.append(this.names);
    this.look(0);
    if (kept && this.root.contains(kept)) this.focus(0);
  }

  straight() {
    const pairs = new Map();
    for (const { source, target, relation } of this.edges) {
      if (source === target) continue;
      const pair = [Math.min(source, target), Math.max(source, target)].join();
      pairs.set(pair, new Set([...(pairs.get(pair) ?? []), relation]));
    }
    return Array.from(pairs, ([pair, relations]) => {
      const [source, target] = pair.split(",").map(Number);
      const [[x1, y1], [x2, y2]] = [this.places[source], this.places[target]];
      const line = svg("line", { x1, y1, x2, y2 });
      Object.assign(line, { ends: [source, target], relations: [...relations].filter((one) => one !== "of") });
      return line;
    });
  }

  mark(node, place, old) {
    const [x, y] = this.places[place];
    const group = old ?? svg("g", { role: "button" });
    const radius = place === 0 ? CENTRE : RADIUS;
    const { kind, url } = node.payload;
    const picture = kind === "image" ? url : node.face;
    const name = kind === "text" ? `“${short(node.label, 16)}”` : short(node.label, 16);
    group.replaceChildren(
      svg("circle", { class: "reach", r: 24 }),
      svg("circle", { class: "disc", r: radius }),
      picture
        ? svg("image", { href: `${picture}?side=96`, x: -radius, y: -radius, width: 2 * radius, height: 2 * radius, "clip-path": `circle(${radius}px at ${radius}px ${radius}px)`, preserveAspectRatio: "xMidYMid slice" })
        : svg("text", { class: "sign" }, (node.modality && SIGNS[kind]) || ""),
      svg("circle", { class: picture ? "frame" : "none", r: picture ? radius : 0 }),
      svg("circle", { class: "ring", r: radius + 4 }),
      svg("text", { class: "label", y: radius + 17 }, kind === "image" || kind === "audio" ? node.node : name),
    );
    group.setAttribute("class", `node ${this.colour(node.node)} ${place === 0 ? "centre" : ""} ${node.modality ? "pale" : ""}`);
    group.setAttribute("aria-label", this.words(node, place));
    group.setAttribute("tabindex", place === 0 ? "0" : "-1");
    group.dataset.key = keyOf(node);
    group.style.transform = `translate(${x.toFixed(1)}px,${y.toFixed(1)}px)`;
    group.onclick = () => this.onwalk(node);
    group.onfocus = () => this.look(place);
    group.onpointerenter = (event) => event.pointerType === "mouse" && this.look(place);
    return group;
  }

  words(node, place) {
    const said = `${node.node} ${short(node.label, 80)}`;
    if (place === 0) return `${said}, in the middle`;
    const relations = this.edges
      .filter(({ source, target }) => (source === 0 && target === place) || (target === 0 && source === place))
      .map(({ relation }) => relation);
    return relations.length ? `${said}, joined by ${[...new Set(relations)].join(", ")}` : said;
  }

  look(place) {
    this.at = place;
    this.names.replaceChildren();
    for (const line of this.lines.children) {
      const lit = line.ends.includes(place) && (place !== 0 || (this.nodes.length <= 14 && !this.narrow));
      line.classList.toggle("lit", lit && place !== 0);
      if (!lit || !line.relations.length) continue;
      const [[ax, ay], [bx, by]] = line.ends.map((end) => this.places[end]);
      const name = svg("text", { class: "relation", x: (ax + bx) / 2, y: (ay + by) / 2 + 4 }, line.relations.join(", "));
      this.names.append(name);
    }
    this.onlook(this.nodes[place], this.hanging(place));
  }

  // The modality nodes that are drawn and belong to a node.
  hanging(place) {
    const mine = this.edges.filter(({ target, relation }) => target === place && relation === "of");
    return mine.map(({ source }) => this.nodes[source]);
  }

  focus(place) {
    for (const [other, mark] of [...this.marks.values()].entries()) mark.setAttribute("tabindex", other === place ? "0" : "-1");
    this.marks.get(keyOf(this.nodes[place])).focus({ preventScroll: true });
  }

  key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const here = [...this.marks.keys()].indexOf(event.target.dataset?.key);
    if (here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") this.onwalk(this.nodes[here]);
    else if (event.key === "Home") this.focus(0);
    else if (event.key === "Escape") this.onleave();
    else if (ways[event.key]) this.step(here, ways[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  step(here, [right, down]) {
    const [x, y] = this.places[here];
    let [best, least] = [-1, Infinity];
    this.places.forEach(([px, py], place) => {
      const along = (px - x) * right + (py - y) * down;
      const aside = Math.abs((px - x) * down) + Math.abs((py - y) * right);
      if (place !== here && along > 0.5 && along + 2 * aside < least) [best, least] = [place, along + 2 * aside];
    });
    if (best >= 0) this.focus(best);
  }
}

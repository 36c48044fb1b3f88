// The page: what is asked, what was found, and where one has walked. The address holds it, so that a link can be shared.

import { Refusal, describe, neighbours, search } from "./api.js";
import { Drawing, keyOf } from "./graph.js";
import { WORDS, detail, example, html, payload, player, result, short } from "./show.js";
import { readable, record } from "./sound.js";

const $ = (id) => document.getElementById(id);
const FEW = 24; // nodes that a narrow drawing has room for
const MANY = 40;
const COLOURS = 8;

let about = null; // what there is to search
let given = []; // pictures and sounds: { modality, blob, name, url }
const kept = new Map(); // number → those of an earlier question, for the back button
let keep = 0;
let asked = "?"; // the question whose results are shown
let from = null; // the result from which the walk began
let trail = [];
let running = new AbortController();

const colour = (node) => `c${Math.max(0, about.nodes.findIndex(({ name }) => name === node)) % COLOURS}`;
const say = (text) => ($("said").textContent = text);

function trouble(error) {
  if (error.name === "AbortError") return;
  const todo = error instanceof Refusal ? error.todo : "Load the page anew.";
  $("trouble").className = "card";
  $("trouble").replaceChildren(html("p", {}, error.message), html("p", {}, todo));
}

function calm() {
  $("trouble").className = "";
  $("trouble").replaceChildren();
}

// The address: ?q=text&k=10&is.part=train&files=3 asks, or ?like=p1; &type=shop&id=s1 walks.
function question() {
  const found = new URLSearchParams();
  const text = $("text").value.trim();
  const like = new URLSearchParams(location.search).get("like");
  if (like !== null && !text && !given.length) found.set("like", like);
  if (text) found.set("q", text);
  if (given.length) found.set("files", String(keep));
  for (const select of $("filters").querySelectorAll("select")) {
    const usual = select.name === "k" ? "10" : "";
    if (select.value !== usual) found.set(select.name, select.value);
  }
  return found;
}

const asking = (address) => {
  const found = new URLSearchParams(address);
  found.delete("type");
  found.delete("id");
  return found;
};

function go(address, { replace = false } = {}) {
  const url = `${location.pathname}?${address}`;
  if (replace || url === location.pathname + location.search) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
  return arrive();
}

async function arrive({ back = false } = {}) {
  const address = new URLSearchParams(location.search);
  running.abort();
  running = new AbortController();
  const signal = running.signal;
  calm();
  try {
    if (asking(address).toString() !== asked) await renew(address, signal);
    if (address.has("type")) await walk(address.get("type"), address.get("id") ?? "", signal);
    else leave({ focus: back });
  } catch (error) {
    trouble(error);
  } finally {
    if (running.signal === signal) $("list").classList.remove("busy");
  }
}

// The node types that a payload is compared with: all of its modality, or the one that was chosen.
function types(modality) {
  const all = about.nodes.filter((one) => one.searchable && one.modality === modality).map(({ name }) => name);
  const chosen = $(`in-${modality}`)?.value;
  return chosen ? [chosen] : all;
}

async function renew(address, signal) {
  try {
    fill(address);
    await ask(address, signal);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    asked = "?";
    $("results").hidden = true;
    $("list").replaceChildren();
    throw error;
  }
}

function fill(address) {
  if ($("text").value.trim() !== (address.get("q") ?? "")) $("text").value = address.get("q") ?? "";
  for (const select of $("filters").querySelectorAll("select")) {
    const value = address.get(select.name) ?? (select.name === "k" ? "10" : "");
    select.value = [...select.options].some((option) => option.value === value) ? value : select.options[0].value;
  }
  const number = Number(address.get("files") ?? 0);
  if (number && !kept.has(number)) throw new Refusal("The picture or sound of this search is not in its link", "Drop it again.");
  if (number !== keep || !number) {
    given = kept.get(number) ?? [];
    if (number) keep = number;
    showGiven();
  }
}

async function ask(address, signal) {
  const where = {};
  for (const select of $("filters").querySelectorAll("select[data-column]")) {
    if (select.value !== "") where[select.dataset.column] = JSON.parse(select.value);
  }
  const text = address.get("q") ?? "";
  const like = address.get("like");
  if (!text && !given.length && like === null) {
    asked = asking(address).toString();
    $("results").hidden = true;
    $("list").replaceChildren();
    $("start").hidden = !about.examples.length;
    document.title = about.title;
    return;
  }
  $("start").hidden = true;
  $("list").classList.add("busy");
  say("Searching");
  const parts = [...(text ? types("text").map((node) => [node, text]) : [])];
  for (const { modality, blob } of given) parts.push(...types(modality).map((node) => [node, blob]));
  const found = await search({ parts, like, k: Number($("k").value), where }, signal);
  asked = asking(address).toString();
  from = null;
  const words = [like !== null && `more like ${short(like, 40)}`, text && `“${short(text, 40)}”`, ...given.map(({ modality }) => `a ${WORDS[modality][0]}`)].filter(Boolean);
  const count = found.results.length;
  const title = `${count ? count : "No"} ${count === 1 ? "result" : "results"} for ${words.join(" and ")}`;
  $("results-title").textContent = title;
  say(`${title}, in ${Math.round(found.took_ms)} milliseconds`);
  document.title = `${words.join(" and ")} · ${about.title}`;
  const queries = [...new Set(found.results.flatMap(({ why }) => why.map(({ query }) => query)))];
  $("list").replaceChildren(
    ...found.results.map((one, place) =>
      result(one, place, { colour, queries, onwalk: () => begin(one), onlike: () => likes(one) }),
    ),
  );
  $("results").hidden = false;
}

function begin({ node, id, row }) {
  from = row;
  trail = [];
  return step({ node, id });
}

function likes({ id }) {
  const address = new URLSearchParams({ like: id });
  for (const [name, value] of question()) if (name === "k" || /^(is|in)\./.test(name)) address.set(name, value);
  return go(address).then(() => $("results").focus());
}

function step(node) {
  const address = asking(location.search);
  address.set("type", node.node);
  address.set("id", node.id);
  return go(address);
}

const drawing = new Drawing($("drawing"), {
  colour,
  onwalk: step,
  onlook: (node, hanging) => $("detail").replaceChildren(...detail(node, hanging)),
  onleave: () => close(),
});

async function walk(type, id, signal) {
  const narrow = document.documentElement.clientWidth < 760;
  const found = await neighbours(type, id, narrow ? FEW : MANY, signal);
  const [centre] = found.nodes;
  const opened = $("around").hidden;
  $("around").hidden = false;
  document.querySelector(".found").classList.add("walking");
  $("around-title").textContent = short(centre.label, 80);
  drawing.draw(found);
  const before = trail.findIndex((node) => keyOf(node) === keyOf(centre));
  trail = before >= 0 ? trail.slice(0, before + 1) : [...trail, centre];
  showTrail();
  showLegend(found);
  showPlain(found);
  for (const card of document.querySelectorAll(".result")) {
    const here = centre.node === about.anchor && Number(card.dataset.row) === centre.row;
    if (here) card.setAttribute("aria-current", "true");
    else card.removeAttribute("aria-current");
  }
  say(`${centre.label}: ${found.nodes.length - 1} nodes around it`);
  if (opened || !$("drawing").contains(document.activeElement)) drawing.focus(0);
  const { top } = $("around").getBoundingClientRect();
  if (top < 0 || (opened && top > innerHeight / 2)) $("around").scrollIntoView({ block: "start" });
}

function showTrail() {
  const steps = trail.slice(-6).flatMap((node, place, all) => {
    const name = short(node.label, 24);
    const last = place === all.length - 1;
    const link = html("a", { href: "#", onclick: (event) => (event.preventDefault(), step(node)) }, name);
    return last ? [html("span", { "aria-current": "step" }, name)] : [link, html("span", { "aria-hidden": "true" }, "›")];
  });
  $("trail").replaceChildren(...(trail.length > 1 ? steps : []));
}

function showLegend({ nodes, left_out: left }) {
  const types = [...new Set(nodes.map(({ node }) => node))];
  const items = types.map((type) => html("li", {}, html("i", { class: colour(type) }), html("bdi", {}, type)));
  if (left) items.push(html("li", { class: "note" }, `and ${left} more that are not drawn`));
  $("legend").replaceChildren(...items);
}

function showPlain({ nodes }) {
  const items = nodes.slice(1).map((node, place) => {
    const said = drawing.words(node, place + 1);
    return html("li", {}, html("button", { type: "button", dir: "auto", onclick: () => step(node) }, said));
  });
  $("plain").replaceChildren(...items);
}

function leave({ focus = false } = {}) {
  if ($("around").hidden) return;
  $("around").hidden = true;
  document.querySelector(".found").classList.remove("walking");
  trail = [];
  const card = document.querySelector(`.result[data-row="${from}"]`) ?? document.querySelector(".result");
  document.querySelector('.result[aria-current="true"]')?.removeAttribute("aria-current");
  if (focus) card?.querySelector("button").focus();
}

function close() {
  go(asking(location.search)).then(() => {
    const card = document.querySelector(`.result[data-row="${from}"]`) ?? document.querySelector(".result");
    (card?.querySelector("button") ?? $("text")).focus();
  });
}

// What is given: pictures and sounds, one of each.
async function take(files) {
  const pictures = [...files].slice(0, 4);
  if (!pictures.length) return;
  calm();
  for (const file of pictures) {
    const modality = file.type.startsWith("image/") ? "image" : /^(audio|video\/webm)/.test(file.type) || /\.(wav|flac|ogg|mp3)$/i.test(file.name) ? "audio" : null;
    try {
      if (!modality || !about.nodes.some((one) => one.searchable && one.modality === modality)) {
        const can = about.nodes.filter((one) => one.searchable).map(({ modality }) => WORDS[modality]?.[1]).filter(Boolean);
        throw new Refusal(`${short(file.name, 40)} can't be searched by here`, `This graph can be searched by ${[...new Set(can)].join(", ") || "nothing"}.`);
      }
      if (file.size > about.limits.max_bytes * 0.99) {
        throw new Refusal(`${short(file.name, 40)} is too large`, `Take one of at most ${Math.floor(about.limits.max_bytes / 1e6)} MB.`);
      }
      const blob = modality === "audio" ? await sound(file) : file;
      given = [...given.filter((one) => one.modality !== modality), { modality, blob, name: file.name, url: URL.createObjectURL(blob) }];
    } catch (error) {
      trouble(error);
      return;
    }
  }
  remember();
  submit();
}

async function sound(file) {
  try {
    return await readable(file);
  } catch {
    throw new Refusal(`${short(file.name, 40)} can't be read as a sound`, "Take a WAV, FLAC, OGG or MP3 file.");
  }
}

function remember() {
  keep = Math.max(0, ...kept.keys()) + 1;
  kept.set(keep, given);
  showGiven();
}

function showGiven() {
  const items = given.map((one) =>
    html(
      "li",
      {},
      one.modality === "image" ? html("img", { src: one.url, alt: "The picture to search by" }) : player(one.url, "The sound to search by"),
      html("span", {}, one.name),
      html("button", { type: "button", "aria-label": `Remove the ${WORDS[one.modality][0]}`, onclick: () => drop(one) }, "✕"),
    ),
  );
  $("given").replaceChildren(...items);
}

function drop(one) {
  given = given.filter((other) => other !== one);
  remember();
  submit();
  $("text").focus();
}

const submit = () => go(question());

function listen() {
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!question().has("q") && !given.length) $("text").focus();
    asked = "?"; // the same question is asked again
    submit();
  });
  $("filters").addEventListener("change", submit);
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", (event) => {
    take([...event.target.files]);
    event.target.value = "";
  });
  $("close").addEventListener("click", close);
  $("around").addEventListener("keydown", (event) => event.key === "Escape" && close());
  window.addEventListener("popstate", () => arrive({ back: true }));
  window.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) event.preventDefault();
    take(files);
  });
  let over = 0;
  const has = (event) => event.dataTransfer?.types.includes("Files");
  window.addEventListener("dragenter", (event) => has(event) && (over++, ($("drop").hidden = false)));
  window.addEventListener("dragleave", (event) => has(event) && --over <= 0 && ($("drop").hidden = true));
  window.addEventListener("dragover", (event) => has(event) && event.preventDefault());
  window.addEventListener("drop", (event) => {
    over = 0;
    $("drop").hidden = true;
    if (has(event)) event.preventDefault();
    take([...(event.dataTransfer?.files ?? [])]);
  });
  let width = innerWidth;
  window.addEventListener("resize", () => {
    if (innerWidth !== width && !$("around").hidden) drawing.draw(drawing);
    width = innerWidth;
  });
  let stop = null;
  $("record").addEventListener("click", async () => {
    if (stop) return stop();
    try {
      stop = await record((file) => {
        stop = null;
        $("record").textContent = "Record";
        $("record").classList.remove("on");
        take([file]);
      });
      $("record").textContent = "Stop";
      $("record").classList.add("on");
    } catch {
      trouble(new Refusal("The microphone can't be used", "Allow it for this page, or choose a file."));
    }
  });
}

function filters() {
  const counts = [5, 10, 20, 50, 100].filter((count) => count <= about.limits.max_k || count === 5);
  const options = counts.map((count) => html("option", { value: count, selected: count === 10 }, String(count)));
  const columns = Object.entries(about.columns).map(([name, values]) =>
    html(
      "label",
      {},
      html("span", {}, short(name, 24)),
      html(
        "select",
        { name: `is.${name}`, "data-column": name },
        html("option", { value: "" }, "any"),
        ...values.map((value) => html("option", { value: JSON.stringify(value) }, short(String(value), 40))),
      ),
    ),
  );
  const choices = Object.keys(WORDS).flatMap((modality) => {
    const names = types(modality);
    if (names.length < 2) return [];
    const select = html(
      "select",
      { id: `in-${modality}`, name: `in.${modality}` },
      html("option", { value: "" }, `all ${WORDS[modality][1]}`),
      ...names.map((name) => html("option", { value: name }, short(name, 40))),
    );
    return [html("label", {}, html("span", {}, "Compare with"), select)];
  });
  $("filters").replaceChildren(...choices, ...columns, html("label", {}, html("span", {}, "Results"), html("select", { id: "k", name: "k" }, ...options)));
}

function introduce() {
  document.title = about.title;
  $("title").textContent = about.title;
  const facts = about.nodes.filter(({ rows }) => rows).map(({ name, rows }) => html("li", {}, html("b", {}, rows.toLocaleString("en")), " ", html("bdi", {}, name)));
  $("facts").replaceChildren(...facts);
  $("examples").replaceChildren(...about.examples.map((node) => example(node, () => begin(node))));
  const can = new Set(about.nodes.filter((one) => one.searchable).map(({ modality }) => modality));
  $("text").disabled = !can.has("text");
  if (!can.has("text")) $("text").placeholder = "This graph has no texts to search by";
  const files = ["image", "audio"].filter((one) => can.has(one)).map((one) => WORDS[one][0]);
  $("choose").hidden = $("hint").hidden = !files.length;
  $("choose").textContent = `Choose a ${files.join(" or a ")} …`;
  $("record").hidden = !can.has("audio") || !navigator.mediaDevices?.getUserMedia;
}

$("scheme").addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.scheme = getComputedStyle(root).colorScheme === "dark" ? "light" : "dark";
});

try {
  about = await describe();
  introduce();
  filters();
  listen();
  document.documentElement.dataset.ready = "true";
  await arrive();
} catch (error) {
  trouble(error);
}

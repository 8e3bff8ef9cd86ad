// A small part of Markdown, as elements: headings, paragraphs, lists, quotes, bold, italic, code, links. Everything
// else stays the text that it is, HTML too: nothing here is parsed as HTML, and links lead to web pages and
// mail alone.

import { make } from "../common/dom.js";

const INLINE = /`([^`]+)`|\*\*(.+?)\*\*|\*([^*\s](?:[^*]*[^*\s])?)\*|\[([^\]]+)\]\(([^)\s]+)\)| {2}\n|\\\n/;
const ITEM = /^(?:[-*]|(\d{1,4})[.)])\s+/;
const HEADING = /^(#{1,4})\s+(.*?)\s*#*$/;

/** The elements of a text. */
export function markdown(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const nodes = [];
  while (lines.length) {
    if (!lines[0].trim()) lines.shift();
    else nodes.push(block(lines));
  }
  return nodes;
}

/** Takes the lines of the next block away, and makes it. */
function block(lines) {
  const heading = HEADING.exec(lines[0]);
  if (heading) {
    lines.shift();
    // the page's own title is the first
    return make(`h${heading[1].length + 1}`, {}, inline(heading[2]));
  }
  if (lines[0].startsWith(">")) {
    const quoted = take(lines, (line) => line.startsWith(">")).map((line) => line.replace(/^> ?/, ""));
    return make("blockquote", {}, markdown(quoted.join("\n")));
  }
  if (ITEM.test(lines[0])) return list(lines);
  const text = take(lines, (line, i) => line.trim() && (i === 0 || !begins(line)));
  return make("p", {}, inline(text.join("\n")));
}

function begins(line) {
  return HEADING.test(line) || ITEM.test(line) || line.startsWith(">");
}

function list(lines) {
  const first = ITEM.exec(lines[0])[1];
  const items = [];
  while (lines.length && ITEM.test(lines[0]) && (ITEM.exec(lines[0])[1] === undefined) === (first === undefined)) {
    // a line that is moved in goes on with the item
    const [begin, ...rest] = take(lines, (line, i) => i === 0 || /^\s+\S/.test(line));
    items.push(make("li", {}, inline([begin.replace(ITEM, ""), ...rest.map((line) => line.trim())].join("\n"))));
  }
  return first === undefined ? make("ul", {}, items) : make("ol", { start: first }, items);
}

/** Takes lines away as long as they belong. */
function take(lines, belongs) {
  let count = 0;
  while (count < lines.length && belongs(lines[count], count)) count += 1;
  return lines.splice(0, Math.max(count, 1));
}

function inline(text) {
  const nodes = [];
  let rest = text;
  for (let found; (found = INLINE.exec(rest)); rest = rest.slice(found.index + found[0].length)) {
    if (found.index) nodes.push(rest.slice(0, found.index));
    nodes.push(element(found));
  }
  if (rest) nodes.push(rest);
  return nodes;
}

function element([whole, code, bold, italic, label, address]) {
  if (code) return make("code", {}, code);
  if (bold) return make("strong", {}, inline(bold));
  if (italic) return make("em", {}, inline(italic));
  if (!label) return make("br");
  // of its own window: the study stays open
  return isHarmless(address) ? make("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, inline(label)) : whole;
}

function isHarmless(address) {
  return /^(https?:\/\/|mailto:)/i.test(address);
}

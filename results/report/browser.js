"use strict";
// The browser of samples. Everything that comes from a sample is put in by textContent: it is data, whatever it looks like.
(() => {
  const perPage = 25;
  const all = -1;

  // el makes an element; strings among its children are texts.
  const el = (name, attributes, ...children) => {
    const e = document.createElement(name);
    for (const [k, v] of Object.entries(attributes || {})) if (v !== null) e.setAttribute(k, v);
    e.append(...children);
    return e;
  };

  // unpack reads the JSON of a data element.
  const unpack = async (i) => {
    const packed = atob(document.getElementById("data-" + i).textContent);
    const bytes = new Uint8Array(packed.length);
    for (let k = 0; k < packed.length; k++) bytes[k] = packed.charCodeAt(k);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };

  const state = { c: all, r: all, s: all, g: all, w: "", v: all, o: "", q: "", p: 0 };
  const numeric = new Set(["c", "r", "s", "g", "v", "p"]);
  let data, index, list, root, controls = {}, results, pager, chunks = new Map();

  // The page's address holds the filters, so that a view can be kept, and survives a reload.
  const readHash = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    if (![...given.keys()].some((k) => k in state)) return false;
    for (const k of Object.keys(state)) {
      const v = given.get(k);
      state[k] = numeric.has(k) ? (k === "p" ? 0 : all) : "";
      if (v === null) continue;
      if (!numeric.has(k)) state[k] = v;
      else if (/^\d{1,9}$/.test(v)) state[k] = Number(v);
    }
    return true;
  };
  const writeHash = () => {
    const out = new URLSearchParams();
    for (const [k, v] of Object.entries(state)) if (v !== "" && v !== all && !(k === "p" && v === 0)) out.set(k, v);
    history.replaceState(null, "", "#" + (out.toString() || "samples"));
  };

  const conditionName = (c) => {
    const x = data.conds[c];
    return (data.runs.length > 1 ? data.runs[x.run] + ": " : "") + x.noise + ", " + x.temp;
  };

  // find returns the sample of a condition, or -1. A condition may share another's samples; one that is always the same has one
  // replicate for all, and one sample of a question may stand for all of them.
  const place = (item, cond, rep, number) => ((item * data.conds.length + cond) * 65536 + rep) * (1 + index.last) + number;
  const find = (item, cond, rep, number) => {
    const own = data.conds[cond].of, c = data.conds[own];
    const at = index.get(place(item, own, c.det ? 0 : rep, c.det || c.one ? 0 : number));
    return at === undefined ? -1 : at;
  };

  const outcomes = {
    gained: ["gained: wrong there, right here", (here, there) => here && !there],
    lost: ["lost: right there, wrong here", (here, there) => !here && there],
    both: ["right in both", (here, there) => here && there],
    neither: ["wrong in both", (here, there) => !here && !there],
  };
  const counted = (i) => !["nonfinite", "error"].includes(data.statuses[data.status[i]]);

  const select = () => {
    const own = state.c === all ? all : data.conds[state.c]?.of;
    const query = state.q.trim().toLowerCase();
    const row = /^#?(\d+)$/.exec(query);
    const hit = data.items.map((x) => query === "" || (row ? x.id === Number(row[1]) : x.q.toLowerCase().includes(query)));
    const versus = state.v !== all && data.conds[state.v] ? state.v : all;
    list = [];
    for (let i = 0; i < data.item.length; i++) {
      if (own !== all && data.cond[i] !== own) continue;
      if (state.r !== all && data.rep[i] !== state.r) continue;
      if (state.s !== all && data.status[i] !== state.s) continue;
      if (state.g !== all && data.rung[i] !== state.g) continue;
      if (state.w !== "" && (data.correct[i] === 1) !== (state.w === "right")) continue;
      if (!hit[data.item[i]]) continue;
      if (versus === all || !outcomes[state.o]) { list.push([i, data.rep[i], data.number[i]]); continue; }
      // A sample that stands for all replicates, or for all of its question, is compared with each of them.
      const mine = own === all ? {} : data.conds[own], theirs = data.conds[data.conds[versus].of];
      const reps = mine.det && !theirs.det ? index.reps : [data.rep[i]];
      const numbers = (mine.det || mine.one) && !theirs.det && !theirs.one ? index.numbers : [data.number[i]];
      for (const rep of reps) {
        for (const n of numbers) {
          const other = find(data.item[i], versus, rep, n);
          if (other >= 0 && counted(i) && counted(other) && outcomes[state.o][1](data.correct[i] === 1, data.correct[other] === 1)) list.push([i, rep, n]);
        }
      }
    }
  };

  const textOf = async (i) => {
    let k = data.chunks.length - 1;
    while (data.chunks[k] > i) k--;
    if (!chunks.has(k)) chunks.set(k, unpack(k + 1));
    return (await chunks.get(k))[i - data.chunks[k]];
  };

  const number = (v) => String(Math.round(v * 1e4) / 1e4);

  // generated shows a text, with the matched answer marked.
  const generated = async (i, title) => {
    const [text, start, end, tmin, tmax, tmean, finish, error] = await textOf(i);
    const pre = el("pre", { lang: "" });
    if (start >= 0) pre.append(text.slice(0, start), el("mark", {}, text.slice(start, end)), text.slice(end));
    else pre.append(text);
    const answer = data.answers[data.answer[i]], rung = data.rungs[data.rung[i]];
    const facts = [answer === "" ? "no answer read" : "answer " + answer + " by rung " + rung, data.tokens[i] + " tokens", "finish " + finish];
    if (tmean !== null) facts.push(tmin === tmax ? "T " + number(tmin) : "T " + number(tmin) + " to " + number(tmax) + ", mean " + number(tmean));
    if (error) facts.push("cause: " + error);
    return el("div", {}, el("h3", {}, title), pre, el("p", { class: "facts" }, facts.join(" · ")));
  };

  const fill = async (body, i, rep, n) => {
    const item = data.items[data.item[i]];
    const asked = el("div", {}, el("h3", {}, "Question"),
      el("div", { class: "question" }, item.q === "" ? "The text of the question is not in this report." : item.q));
    if (item.a !== "") {
      asked.append(el("h3", {}, "Expected: " + item.g), el("details", {}, el("summary", {}, "worked solution"), el("pre", {}, item.a)));
    }
    const parts = [asked, await generated(i, "Generated under " + conditionName(data.cond[i]))];
    const other = state.v !== all && data.conds[state.v] ? find(data.item[i], state.v, rep, n) : -1;
    if (other >= 0 && other !== i) parts.push(await generated(other, "Against: " + conditionName(state.v)));
    body.replaceChildren(...parts);
  };

  const sample = (i, rep, n) => {
    const item = data.items[data.item[i]], right = data.correct[i] === 1, status = data.statuses[data.status[i]];
    const shown = state.c !== all ? state.c : data.cond[i];
    const failed = !counted(i);
    const words = (failed ? "failed" : right ? "right" : "wrong") + (status === "ok" ? "" : " (" + status.replace("_", " ") + ")");
    const answer = data.answers[data.answer[i]];
    const body = el("div", { class: "body" });
    const details = el("details", { class: "sample" },
      el("summary", {},
        el("span", { class: "verdict " + (right ? "good" : "bad") }, (right ? "✓ " : "✗ ") + words), " ",
        el("span", { class: "about" }, "question " + item.id + " · " + conditionName(shown) + " · seed " + rep + (index.last > 0 ? " · sample " + n : "") +
          (answer === "" ? "" : " · " + answer + (right || item.g === "" ? "" : " instead of " + item.g)) + " · " + data.tokens[i] + " tokens"),
        el("span", { class: "asked" }, item.q)),
      body);
    details.addEventListener("toggle", () => { if (details.open && !body.firstChild) fill(body, i, rep, n); });
    return details;
  };

  const show = () => {
    const pages = Math.max(1, Math.ceil(list.length / perPage));
    state.p = Math.min(state.p, pages - 1);
    const from = state.p * perPage;
    results.replaceChildren(...list.slice(from, from + perPage).map(([i, rep, n]) => sample(i, rep, n)));
    pager.count.textContent = list.length === 0 ? "No sample is like that." :
      (from + 1) + " to " + Math.min(from + perPage, list.length) + " of " + list.length + " samples";
    pager.back.disabled = state.p === 0;
    pager.next.disabled = state.p >= pages - 1;
  };

  const update = () => { select(); show(); };

  const options = (entries) => entries.map(([value, name]) => el("option", { value: String(value) }, name));

  const control = (key, name, input) => {
    input.id = "filter-" + key;
    controls[key] = input;
    input.addEventListener(input.type === "search" ? "input" : "change", () => {
      state[key] = numeric.has(key) ? Number(input.value) : input.value;
      if (key === "v" && state.v !== all && state.o === "") state.o = "gained";
      if (key === "o" && state.o !== "" && state.v === all) state.v = 0;
      state.p = 0;
      sync();
      writeHash();
      update();
    });
    return el("div", {}, el("label", { for: input.id }, name), input);
  };

  const sync = () => { for (const [k, input] of Object.entries(controls)) input.value = String(state[k]); };

  const build = () => {
    const conds = data.conds.map((_, i) => [i, conditionName(i)]);
    const reps = [...new Set(data.rep)].sort((a, b) => a - b);
    index.reps = reps;
    index.numbers = Array.from({ length: 1 + index.last }, (_, n) => n);
    root.append(el("form", { class: "filters", "aria-label": "Filter the samples" },
      control("c", "Condition", el("select", {}, ...options([[all, "all"], ...conds]))),
      control("r", "Noise seed", el("select", {}, ...options([[all, "all"], ...reps.map((r) => [r, String(r)])]))),
      control("w", "Verdict", el("select", {}, ...options([["", "all"], ["right", "right"], ["wrong", "not right"]]))),
      control("s", "Status", el("select", {}, ...options([[all, "all"], ...data.statuses.map((s, i) => [i, s.replace("_", " ")])]))),
      control("g", "Answer read by rung", el("select", {}, ...options([[all, "all"], ...data.rungs.map((g, i) => [i, g || "none"])]))),
      control("v", "Compare with", el("select", {}, ...options([[all, "nothing"], ...conds]))),
      control("o", "Gained or lost", el("select", {}, ...options([["", "all"], ...Object.entries(outcomes).map(([k, v]) => [k, v[0]])]))),
      control("q", "Question: number or words", el("input", { type: "search", autocomplete: "off" }))));
    root.firstChild.addEventListener("submit", (e) => e.preventDefault());
    pager = { count: el("span", { role: "status" }), back: el("button", { type: "button" }, "Previous"), next: el("button", { type: "button" }, "Next") };
    const turn = (by) => () => { state.p += by; writeHash(); show(); root.scrollIntoView(); };
    pager.back.addEventListener("click", turn(-1));
    pager.next.addEventListener("click", turn(1));
    results = el("div", { class: "results" });
    root.append(el("div", { class: "pager" }, pager.count, pager.back, pager.next), results);
    root.hidden = false;
  };

  const follow = () => {
    // A page that is served asks for news, and loads itself anew when there is some; the address keeps the filters.
    const box = document.getElementById("live-follow"), note = document.getElementById("live-state");
    if (!document.body.dataset.live || !box) return;
    box.checked = sessionStorage.getItem("follow") !== "no";
    box.addEventListener("change", () => sessionStorage.setItem("follow", box.checked ? "yes" : "no"));
    let seen = null;
    const ask = async () => {
      try {
        const answer = await fetch("version", { cache: "no-store" });
        const version = await answer.text();
        if (!answer.ok) note.textContent = version;
        else if (seen === null) seen = version;
        else if (seen !== version && box.checked && !document.querySelector(".sample[open]")) location.reload();
      } catch { note.textContent = "The server has ended; this is its last page."; }
      setTimeout(ask, 3000);
    };
    ask();
  };

  const start = async () => {
    root = document.getElementById("browser");
    data = await unpack(0);
    index = new Map();
    index.last = data.number.reduce((a, b) => Math.max(a, b), 0);
    for (let i = 0; i < data.item.length; i++) index.set(place(data.item[i], data.cond[i], data.rep[i], data.number[i]), i);
    build();
    const linked = readHash();
    sync();
    update();
    if (linked && !document.body.dataset.live) document.getElementById("samples").scrollIntoView();
    window.addEventListener("hashchange", () => {
      if (!readHash()) return;
      sync();
      update();
      document.getElementById("samples").scrollIntoView();
    });
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  };

  follow();
  start().catch((e) => {
    root.hidden = false;
    root.replaceChildren(el("p", {}, "The samples cannot be shown by this browser: " + e));
  });
})();

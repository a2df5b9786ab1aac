// How texts and questions become words: the same when the index is made and when it is asked.
"use strict";

// What stands in any question, and says nothing of its subject.
const COMMON = new Set(
  `a an and any are as at be because been but by can could did do does doing for from had has have how i if in into is
  it its just like me my need needed of on or really should so some such than that the their then there these they
  this to too very was we were what when where which who why will with would you your`.split(/\s+/),
);
// What this book is about: beside another word it says little.
const EVERYWHERE = new Set(["attent", "transform", "pytorch"]);
const STEMS = new Map();
const stemmer = new Stemmer();

function stem(word) {
  if (!STEMS.has(word)) STEMS.set(word, stemmer.stemWord(word));
  return STEMS.get(word);
}

// A word, a name with underscores (whole, and each of its parts), a number; -inf and -1e9 keep their sign.
const WORD = /-(?=\d|inf)[\p{L}\p{N}_]+|[\p{L}\p{N}_]+|√/gu;

function* pieces(text) {
  for (const { 0: word, index } of text.toLowerCase().matchAll(WORD)) {
    yield [word === "√" ? "sqrt" : word, index, word.length];
  }
}

function tokenize(text) {
  return [...pieces(text)].flatMap(([word]) =>
    word.includes("_") ? [word, ...word.split("_").filter(Boolean)] : [word],
  );
}

function processTerm(word) {
  if (COMMON.has(word)) return null;
  return /^[a-z]{3,}$/.test(word) ? stem(word) : word;
}

const OPTIONS = {
  fields: ["title", "aliases", "trail", "text", "code"],
  storeFields: ["page", "place", "counts", "kind", "anchor", "title", "trail"],
  tokenize,
  processTerm,
  searchOptions: {
    boost: { title: 4, aliases: 5, trail: 1.5, text: 1, code: 0.3 },
    prefix: (word) => word.length > 3, // a word that is not finished, or has another ending
    fuzzy: (word) => (word.length > 5 ? 0.15 : 0), // a letter or two amiss
    weights: { prefix: 0.3, fuzzy: 0.2 },
    boostTerm: (word, place, words) => (EVERYWHERE.has(word) && words.length > 1 ? 0.3 : 1),
    boostDocument: (id, word, stored) => stored.counts,
  },
};

function indexed(sections) {
  const search = new MiniSearch(OPTIONS);
  search.addAll(sections.map((one, id) => ({ id, ...one })));
  return JSON.stringify(search);
}

const ENOUGH = 60;
const FAINT = 0.08; // of the best hit's score: what is below has a word in common with the question, and no more

function answers(search, query) {
  const hits = search.search(query);
  return hits.filter(({ score }) => score >= FAINT * hits[0].score).slice(0, ENOUGH);
}

"""Fifty texts that a tokenizer and a model may be given: long, short, unicode, code, odd."""

from surgeon.models.texts import load_texts

ODD = [
    "a",
    " ",
    "\n",
    "The",
    "0",
    "Hello",
    "  two spaces, and a tab\tand  more  ",
    "\n\n\nThree lines of nothing, then this.\r\n",
    "In 2024, 3.14159 was 22/7, or 1,000,000 of 0xFF?",
    "naïve café, Ünïcödé, ﬁne print, ½ of ∞",
    "東京で外科医が線を切った。",
    "Хирург перерезал провод.",
    "الجراح قطع السلك",
    "🙂🙃 👩‍⚕️ and 🏴‍☠️",
    "def f(x):\n    return {k: v**2 for k, v in x.items() if v != 0}\n",
    "<div class='a'>&nbsp;</div> <!-- no -->",
    "SELECT * FROM knives WHERE edge > 0.5 ORDER BY age DESC;",
    "https://example.org/a?b=c&d=%20#e",
    "it's, they're, I'd, we'll, can't, 'quoted' \"twice\"",
    "ALL CAPITALS AND camelCaseWords_with_underscores",
    "word word word word word word word",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "<|im_start|>user\nAre dogs real?<|im_end|>\n<|im_start|>assistant\n",
    "\u200b\u00a0\ufeff\u2028 spaces that are not",
    "∑ᵢ xᵢ² ≤ ‖x‖², so E = mc²",
    "e\u0301 and \u00e9 are two spellings",
]
# of every second of the book's own, the beginning; and one as it is
TEXTS = ODD + [text.text[:90] for text in load_texts()[::2]][:23] + [load_texts()[45].text]

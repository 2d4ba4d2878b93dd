"""clean, tokenize and detokenize."""

from __future__ import annotations

import logging
import time
import unicodedata
from dataclasses import replace

import pytest
import torch
from by_hand import BytePairs
from conftest import EMOJI
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import clean, detokenize, embed, load_clip, tokenize, tokens

BOS, EOS = 49406, 49407
UNICORN = "\U0001f984"
INJECTIONS = [
    "<|endoftext|>",
    "<|startoftext|>",
    "<|ENDOFTEXT|>",
    "&lt;|endoftext|&gt;",
    "&amp;lt;|endoftext|&amp;gt;",
    "&#60;|endoftext|&#62;",
    "<|end<|endoftext|>oftext|>",
    "a<|endoftext|>b",
    "<|endoftext|></w>",
]

# Characters that Unicode 3.2 already had: the libraries' tables of younger ones differ by version.
old_letters = st.characters(exclude_categories=("Cs", "Cn", "Co")).filter(
    lambda c: (
        unicodedata.ucd_3_2_0.category(c) != "Cn"
        and unicodedata.ucd_3_2_0.category(c)[0] == unicodedata.category(c)[0]
    )
)
any_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=150)
hard_text = st.lists(
    st.one_of(
        any_text,
        st.sampled_from(INJECTIONS),
        st.sampled_from(["!", "!!", "'s", " ", "\n", "é", "你好", "🦄", "1984", "don't", "</w>"]),
        st.text("abcdefgh !.,'", max_size=300),
    ),
    max_size=6,
).map("".join)


def ids_of(clip, text: str, **options) -> list[int]:
    return tokenize(clip, text, padding="longest", **options)["input_ids"][0].tolist()


# --- published ids ---


def test_every_published_id(clip, known) -> None:
    entries = known["tokens"]
    assert len(entries) == 8
    for entry in entries:
        ids = ids_of(clip, entry["text"])
        if "ids" in entry:
            assert ids == entry["ids"], entry["text"]
            row = tokenize(clip, entry["text"])["input_ids"][0].tolist()
            assert row == entry["ids"] + [EOS] * (77 - len(entry["ids"])), entry["text"]
        if "tokens" in entry:
            tokens = clip.tokenizer.convert_ids_to_tokens(ids[1:-1])
            assert tokens == entry["tokens"], entry["text"]


def test_published_truncation(clip, known) -> None:
    expected = known["truncation"]
    ids = ids_of(clip, " ".join(["a", *["very"] * 100, "text"]))
    assert ids[:3] == expected["first_ids"]
    assert ids[-1] == expected["last_id"]
    assert len(ids) == expected["length"]


def test_published_vocabulary(clip, clip_sd2_words, known) -> None:
    expected = known["vocabulary"]
    assert len(clip.tokenizer) == expected["size"]
    for number in ("320", "1125", "49406", "49407"):
        assert clip.tokenizer.convert_ids_to_tokens(int(number)) == expected[number]
    assert clip_sd2_words.tokenizer.pad_token == expected["sd2_pad_token"]
    assert clip_sd2_words.pad_token_id == expected["sd2_pad_id"]


# --- clean ---


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("  A   Cat\n\t", "a cat"),
        ("It\u2019s \u201cnice\u201d", 'it\'s "nice"'),
        ("caf\u00c3\u00a9", "caf\u00e9"),  # UTF-8 read as Latin-1
        ("a\tb\n\nc\u00a0d\u2003e", "a b c d e"),  # any whitespace, inside too
        ("cats &amp;amp; dogs", "cats & dogs"),
        ("1 < 2 &amp;amp; 3", "1 < 2 & 3"),  # ftfy leaves entities alone where there is a "<"
        ("\ufb01sh", "fish"),
        ("", ""),
    ],
)
def test_clean(dirty: str, expected: str) -> None:
    assert clean(dirty) == expected


def test_clean_can_be_left_out(clip) -> None:
    curly = "it\u2019s"
    assert ids_of(clip, curly) == ids_of(clip, "it's")
    assert ids_of(clip, curly, clean=False) != ids_of(clip, "it's", clean=False)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=80))
def test_without_cleaning_the_ids_are_the_librarys(clip, text: str) -> None:
    theirs = clip.tokenizer([text], padding="max_length", max_length=77, truncation=True)
    ours = tokenize(clip, text, clean=False)
    assert ours["input_ids"].tolist() == theirs["input_ids"]
    assert ours["attention_mask"].tolist() == theirs["attention_mask"]


def test_clean_without_ftfy_says_what_to_install(monkeypatch: pytest.MonkeyPatch, clip) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(ImportError) as caught:
        clean("a cat")
    assert caught.value.args == (
        "Cleaning text needs ftfy: run 'pip install ftfy', or pass clean=False to tokenize.",
    )
    assert ids_of(clip, "a cat", clean=False) == [BOS, 320, 2368, EOS]


# --- properties ---


@given(st.lists(hard_text, min_size=1, max_size=4), st.sampled_from(["max_length", "longest"]))
def test_shape_start_end_and_mask(clip, clip_sd2_words, texts: list[str], padding: str) -> None:
    for one in (clip, clip_sd2_words):
        tokens = tokenize(one, texts, padding=padding)
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        assert ids.dtype == mask.dtype == torch.long
        assert ids.shape == mask.shape
        assert ids.shape[0] == len(texts)
        assert ids.shape[1] <= 77
        assert padding == "longest" or ids.shape[1] == 77
        assert padding == "max_length" or int(mask.sum(-1).max()) == ids.shape[1]
        for row, row_mask in zip(ids.tolist(), mask.tolist(), strict=True):
            length = sum(row_mask)
            assert row_mask == [1] * length + [0] * (len(row) - length)
            assert row[0] == BOS
            assert row[length - 1] == EOS
            assert not {BOS, EOS} & set(row[1 : length - 1])  # one start, one end: no text has them
            assert set(row[length:]) <= {one.pad_token_id}


@given(st.text(old_letters, max_size=40))
@example("don't you're I'VE we'll he'd ''s 'S")
@example("1984 ½ ② Ⅷ ٣ 100,000.50")
@example("!!! ?! ... :) :// #hash @you 50% a_b-c")
@example("你好 こんにちは Ελλάδα Σίσυφος İstanbul ﬁsh naïve cafe\u0301")
@example("<|endoftext|> and <|startoftext|>, <|EndOfText|>")
@example("Z\u0301\u0323 a\u200db \u00a0 \ufeff &amp; </w> a</w>b")
@example("supercalifragilisticexpialidocious antidisestablishmentarianism")
def test_by_hand_byte_pairs_equal_the_library(clip, byte_pairs, text: str) -> None:
    expected = byte_pairs.encode(clean(text))[:75]
    assert ids_of(clip, text)[1:-1] == expected


@pytest.fixture(scope="session")
def byte_pairs() -> BytePairs:
    return BytePairs(EMOJI / "merges.txt")


def test_by_hand_vocabulary_is_the_shipped_one(clip, byte_pairs) -> None:
    specials = {"<|startoftext|>": BOS, "<|endoftext|>": EOS}
    assert byte_pairs.ids | specials == clip.tokenizer.get_vocab()


@pytest.mark.parametrize("injection", INJECTIONS)
@pytest.mark.parametrize("cleaned", [True, False])
def test_control_strings_are_text(clip, clip_sd2_words, injection: str, cleaned: bool) -> None:
    for one in (clip, clip_sd2_words):
        ids = ids_of(one, f"a {injection} b", clean=cleaned)
        assert ids.count(BOS) == ids.count(EOS) == 1
        assert ids[-2] == 321  # "b" is still there
        assert "oftext" in detokenize(one, ids)[0].replace(" ", "")


def test_control_strings_would_get_in_without_us(clip) -> None:
    """The trap is real: the library alone ends the prompt there."""
    assert clip.tokenizer("a <|endoftext|> b")["input_ids"].count(EOS) == 2


def test_the_tokenizer_is_left_as_it_was(clip) -> None:
    theirs = clip.tokenizer("a <|endoftext|> b")["input_ids"]  # which may change its own state
    before = clip.tokenizer.backend_tokenizer.to_str()
    tokenize(clip, ["a <|endoftext|> b", "x"], padding="longest")
    assert clip.tokenizer.backend_tokenizer.to_str() == before
    assert clip.tokenizer("a <|endoftext|> b")["input_ids"] == theirs


def test_what_the_tokenizer_was_used_for_before_does_not_matter(clip) -> None:
    from transformers import CLIPTokenizerFast

    own = replace(clip, tokenizer=CLIPTokenizerFast.from_pretrained(str(EMOJI)))
    own.tokenizer("a", padding="max_length", truncation=True, max_length=5)  # and keeps both
    text = "a very small red cat sits on a mat"
    for _ in range(2):
        assert torch.equal(tokenize(own, text)["input_ids"], tokenize(clip, text)["input_ids"])


def test_the_copy_of_the_tokenizer_is_made_once(clip) -> None:
    from transformers import CLIPTokenizerFast

    own = replace(clip, tokenizer=CLIPTokenizerFast.from_pretrained(str(EMOJI)))
    copy = tokens._text_tokenizer(own)
    assert tokens._text_tokenizer(own) is copy
    own.tokenizer.add_tokens(["<cat-toy>"])
    again = tokens._text_tokenizer(own)
    assert again is not copy
    assert tokens._text_tokenizer(own) is again


def test_added_tokens_are_used_and_control_strings_still_are_not(clip) -> None:
    from transformers import CLIPTokenizerFast

    own = replace(clip, tokenizer=CLIPTokenizerFast.from_pretrained(str(EMOJI)))
    assert 49408 not in ids_of(own, "a <cat-toy> b")
    own.tokenizer.add_tokens(["<cat-toy>"])
    ids = ids_of(own, "a <cat-toy> <|endoftext|> b")
    assert ids[:3] == [BOS, 320, 49408]
    assert ids.count(EOS) == 1
    assert detokenize(own, ids) == ["a <cat-toy> <| endoftext |> b"]


@pytest.mark.parametrize("which", ["clip", "clip_sd2_words"])
def test_added_tokens_come_back_as_they_are(request, which: str, caplog) -> None:
    """They are stored as plain text; the others are spelt in byte letters."""
    from transformers import CLIPTokenizerFast

    given = request.getfixturevalue(which)
    own = replace(given, tokenizer=CLIPTokenizerFast.from_pretrained(given.tokenizer.name_or_path))
    own.tokenizer.add_tokens(["<cat-toy>", "blåhaj"])
    for text, expected in (
        ("a <cat-toy> on a mat", "a <cat-toy> on a mat"),
        ("a blåhaj, naïve café", "a blåhaj , naïve café"),
        ("blåhaj<cat-toy><cat-toy>", "blåhaj <cat-toy> <cat-toy>"),
        ("wow!! <cat-toy>!!", "wow !! <cat-toy> !!"),
    ):
        assert detokenize(own, tokenize(own, text)) == [expected]
    with caplog.at_level(logging.WARNING, logger="helpers.tokens"):
        tokenize(own, "very " * 75 + "blåhaj on a mat")
    assert caplog.records[0].getMessage().endswith("lost: 'blåhaj on a mat'")


# --- Stable Diffusion 2's padding ---


def test_exclamation_mark_is_padding_in_sd2(clip, clip_sd2_words) -> None:
    text = "wow! a cat!!"
    assert ids_of(clip, text)[1:-1] == [2781, 256, 320, 2368, 748]
    assert ids_of(clip_sd2_words, text)[1:-1] == [2781, 0, 320, 2368, 0, 0]
    row = tokenize(clip_sd2_words, text)
    assert row["input_ids"][0, 8:].tolist() == [0] * 69
    assert int(row["attention_mask"].sum()) == 8  # the three "!" are text


# --- what does not fit ---


def test_cut_prompt_says_which_words_are_lost(clip, caplog: pytest.LogCaptureFixture) -> None:
    fits = "very " * 75
    with caplog.at_level(logging.WARNING, logger="helpers.tokens"):
        tokenize(clip, [fits, fits + "blue cats"])
    assert [r.getMessage() for r in caplog.records] == [
        "prompt 1 is 79 tokens long, 77 fit; lost: 'blue cats'"
    ]


def test_one_token_too_many(clip, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="helpers.tokens"):
        ids = tokenize(clip, ["very " * 75 + "blue", "very " * 74 + "blue"])["input_ids"]
    assert [r.getMessage() for r in caplog.records] == [
        "prompt 0 is 78 tokens long, 77 fit; lost: 'blue'"
    ]
    very, blue = ids_of(clip, "very blue")[1:-1]
    assert ids.tolist() == [[BOS, *[very] * 75, EOS], [BOS, *[very] * 74, blue, EOS]]


def test_a_default_device_of_somebody_else_changes_nothing(clip) -> None:
    texts = ["a cat", "a very small cat"]
    for padding in ("max_length", "longest"):
        expected = tokenize(clip, texts, padding=padding)
        with torch.device("meta"):  # new tensors go there unless they are told where
            found = tokenize(clip, texts, padding=padding)
        for name, value in expected.items():
            assert torch.equal(found[name], value)
    # without a mask: given one, transformers 4.57 itself puts a number on the default device
    with torch.device("meta"):
        e = embed(clip, texts)
    assert torch.equal(e.text_embeds, embed(clip, texts).text_embeds)


def test_long_loss_is_shortened(clip, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="helpers.tokens"):
        tokenize(clip, " ".join(["a", *["very"] * 100, "text"]))
    assert [r.getMessage() for r in caplog.records] == [
        "prompt 0 is 104 tokens long, 77 fit; lost: 'very very very … very very text' (27 words)"
    ]


def test_only_the_two_ends_of_a_long_loss_are_decoded(
    clip, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []

    def counted(clip, ids) -> str:
        decoded.append(len(ids))
        return decode(clip, ids)

    decode = tokens._decode
    monkeypatch.setattr(tokens, "_decode", counted)
    for lost, size in ((480, "480 words"), (481, "481 tokens"), (100_000, "100000 tokens")):
        text = " ".join(["very"] * 75 + ["one"] * 3 + ["cat"] * (lost - 5) + ["blue", "dog"])
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="helpers.tokens"):
            tokenize(clip, text)
        assert [r.getMessage() for r in caplog.records] == [
            f"prompt 0 is {lost + 77} tokens long, 77 fit; "
            f"lost: 'one one one … cat blue dog' ({size})"
        ]
    assert decoded == [480, 240, 240, 240, 240]


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("cat " * 11 + "dog", f"'{'cat ' * 11}dog'"),  # twelve words: all of them
        ("cat " * 12 + "dog", "'cat cat cat … cat cat dog' (13 words)"),
        ("a" * 120, f"'{'a' * 120}'"),
        ("a" * 121, f"'{'a' * 60} … {'a' * 60}'"),  # one word
        ("a" * 70 + " " + "b" * 70, f"'{'a' * 60} … {'b' * 60}' (2 words)"),
        ("a" * 10_000, f"'{'a' * 60} … {'a' * 60}'"),
        (UNICORN * 200, f"'{UNICORN * 60} … {UNICORN * 60}'"),  # four bytes each
    ],
)
def test_what_is_shown_of_the_lost_words(clip, caplog, text: str, lost: str) -> None:
    with caplog.at_level(logging.WARNING, logger="helpers.tokens"):
        tokenize(clip, "very " * 75 + text)
    (record,) = caplog.records
    shown = record.getMessage().split("lost: ")[1]
    assert shown.split(" (")[0] == lost.split(" (")[0]
    if len(text) < 1000:
        assert shown == lost


@pytest.mark.parametrize("text", ["x" * 100_000, "word " * 20_000, "你" * 100_000, "! " * 50_000])
def test_a_hundred_thousand_characters(clip, caplog: pytest.LogCaptureFixture, text: str) -> None:
    began = time.perf_counter()
    with caplog.at_level(logging.WARNING, logger="helpers.tokens"):
        tokens = tokenize(clip, text)
    assert time.perf_counter() - began < 20
    assert tokens["input_ids"].shape == (1, 77)
    (record,) = caplog.records
    assert len(record.getMessage()) < 250


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=400))
def test_nothing_is_lost_in_silence(clip, text: str) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("helpers.tokens")
    logger.addHandler(handler)
    try:
        tokenize(clip, text)
    finally:
        logger.removeHandler(handler)
    whole = clip.tokenizer(clean(text), truncation=False, verbose=False)["input_ids"]
    assert bool(lines) == (len(whole) > 77)


# --- what is not a text ---


def test_empty_prompt_is_77_rows(clip) -> None:
    tokens = tokenize(clip, "")
    assert tokens["input_ids"].tolist() == [[BOS] + [EOS] * 76]
    assert int(tokens["attention_mask"].sum()) == 2


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (None, TypeError, "the empty prompt is ''"),
        (3, TypeError, "not int"),
        (b"a cat", TypeError, "not bytes"),
        ({"a": 1}, TypeError, "not dict"),
        ([], ValueError, "is empty"),
        (["a", None], TypeError, r"prompts\[1\].*NoneType"),
        (["a", b"b"], TypeError, "decode it first"),
        ([["a"]], TypeError, r"prompts\[0\].*list"),
        ("a \ud800 b", ValueError, "U\\+D800, at position 2"),
        ("\ud83d\ude00", ValueError, "surrogate"),
    ],
)
def test_bad_texts(clip, wrong: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        tokenize(clip, wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("padding", [False, True, None, "none", 77])
def test_bad_padding(clip, padding: object) -> None:
    with pytest.raises(ValueError, match="'max_length' or 'longest'"):
        tokenize(clip, "a", padding=padding)


def test_a_tuple_is_a_list(clip) -> None:
    assert tokenize(clip, ("a", "b"))["input_ids"].shape == (2, 77)


# --- back to text ---


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8), max_size=12))
def test_plain_words_come_back(clip, clip_sd2_words, words: list[str]) -> None:
    text = " ".join(words)
    for one in (clip, clip_sd2_words):
        assert detokenize(one, tokenize(one, [text, ""])) == [text, ""]


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_detokenize_agrees_with_the_library(clip, text: str) -> None:
    tokens = tokenize(clip, text)
    theirs = clip.tokenizer.batch_decode(
        tokens["input_ids"], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    if "</w>" not in text:  # the library takes the user's own "</w>" for the mark of a word's end
        assert [t.split() for t in detokenize(clip, tokens)] == [t.split() for t in theirs]


def test_sd2_keeps_the_users_exclamation_marks(clip_sd2_words) -> None:
    texts = ["wow! a cat!!", "!", ""]
    tokens = tokenize(clip_sd2_words, texts)
    assert detokenize(clip_sd2_words, tokens) == ["wow ! a cat !!", "!", ""]
    again = tokenize(clip_sd2_words, detokenize(clip_sd2_words, tokens))
    assert torch.equal(again["input_ids"], tokens["input_ids"])
    theirs = clip_sd2_words.tokenizer.batch_decode(tokens["input_ids"], skip_special_tokens=True)
    assert not any("!" in text for text in theirs)  # the library alone loses them


def test_every_kind_of_ids(clip) -> None:
    tokens = tokenize(clip, "a cat", padding="longest")
    ids = tokens["input_ids"]
    for given_ids in (tokens, ids, ids[0], ids.tolist(), ids[0].tolist(), ids.numpy(), [320, 2368]):
        assert detokenize(clip, given_ids) == ["a cat"]
    assert detokenize(clip, []) == detokenize(clip, [[]]) == detokenize(clip, ids[0, :0]) == [""]
    rows = [ids[0], torch.tensor([320])]  # rows of different lengths
    assert detokenize(clip, rows) == detokenize(clip, [row.numpy() for row in rows])
    assert detokenize(clip, rows) == ["a cat", "a"]
    assert detokenize(clip, list(ids[0])) == ["a cat"]  # a list of tensors that hold one id each
    assert detokenize(clip, torch.zeros(0, 77, dtype=torch.long)) == []


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("a cat", TypeError),
        (None, TypeError),
        (3, TypeError),
        ([1.5], TypeError),
        ([49999], ValueError),
        ([-1], ValueError),
        ([[320], "a"], TypeError),
        ([[320], 5], TypeError),
        ([5, torch.tensor([320])], TypeError),
        (torch.zeros(1, 2, 3, dtype=torch.long), TypeError),
    ],
)
def test_bad_ids(clip, wrong: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^(tokens|ids|id) .*\.$"):
        detokenize(clip, wrong)


@pytest.mark.parametrize("wrong", ["emoji", None, load_clip])
def test_the_clip_comes_first(clip, wrong: object) -> None:
    for call in (tokenize, detokenize, embed):
        with pytest.raises(TypeError, match=r"must be what load_clip\(\) returned"):
            call(wrong, "a cat")
    with pytest.raises(TypeError, match="clip comes first"):
        tokenize(clip, clip)


def test_embeddings_are_no_ids(clip) -> None:
    with pytest.raises(TypeError, match="pass the input_ids it came from"):
        detokenize(clip, embed(clip, "a cat").last_hidden_state)

"""The tree of prompts: what its nodes see, and that its pooled rows are those of the plain way."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTextConfig, CLIPTextModel

import helpers.embeddings
import helpers.tree
from helpers import embed, tokenize
from helpers.checks import is_plain_clip
from helpers.tree import Tree, pooled_by_tree, sort, trees

END = 3


def batch(prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids, filled up with end tokens, and lengths; each prompt gets its end token here."""
    length = torch.tensor([len(prompt) + 1 for prompt in prompts])
    ids = torch.full((len(prompts), int(length.max()) + 2), END)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = torch.tensor(prompt)
    return ids, length


def beginnings(tree: Tree) -> list[tuple[int, ...]]:
    """What each node stands for: the tokens of its ancestors and its own, by depth."""
    found = []
    for sees in tree.sees:
        ancestors = sees.nonzero().flatten().tolist()
        ancestors.sort(key=lambda node: int(tree.depth[node]))
        assert [int(tree.depth[node]) for node in ancestors] == list(range(len(ancestors)))
        found.append(tuple(int(tree.token[node]) for node in ancestors))
    return found


def test_the_example_in_the_docstring() -> None:
    """The ids and nodes stand on the left of its table, what the tree holds on the right."""
    lines = helpers.tree.__doc__.split("token   ")[1].splitlines()
    numbers = [re.findall(r"[0-9]+(?: [0-9]+)*", line) for line in lines]
    (token,), (first, _, depth), (second, _, end), (third, _, _, sees) = numbers
    asleep, cat, dog = ([int(x) for x in ids.split()[:-1]] for ids in (first, second, third))
    ids = torch.tensor([[1, 5, 6, 9, 9], [1, 5, 6, 7, 9], [1, 5, 8, 9, 9]])
    prompts, back = sort(ids, torch.tensor([4, 5, 4]))
    assert back.tolist() == [1, 0, 2]
    assert prompts.tolist() == [[*asleep, 9], [*cat, 9, -1], [*dog, 9, -1]]
    (tree,) = trees(prompts, 100)
    found = [tree.token, tree.depth, tree.end, tree.sees[7].nonzero().flatten()]
    assert [x.tolist() for x in found] == [
        [int(x) for x in numbers.split()] for numbers in (token, depth, end, sees)
    ]
    # a row of the middle column is what the end of that prompt sees
    nodes = [row[1] for row in numbers[1:]]
    seen = [tree.sees[at].nonzero().flatten().tolist() for at in tree.end]
    assert [" ".join(map(str, path)) for path in seen] == nodes


# few different tokens, so that beginnings are shared; 0 and 300 need more than one byte's order
PROMPTS = st.lists(
    st.lists(st.sampled_from([0, 1, 2, 255, 256, 300]), max_size=6), min_size=1, max_size=30
)


@given(PROMPTS, st.integers(1, 40))
def test_one_node_for_each_beginning(prompts: list[list[int]], nodes: int) -> None:
    sorted_prompts, back = sort(*batch(prompts))
    whole = [(*prompt, END) for prompt in prompts]
    assert len(sorted_prompts) == len(set(whole))
    ends: list[tuple[int, ...]] = []
    for tree in trees(sorted_prompts, nodes):
        found = beginnings(tree)
        of_tree = [found[end] for end in tree.end]
        # each beginning of each prompt once, and nothing else
        assert sorted(found) == sorted({p[:k] for p in of_tree for k in range(1, len(p) + 1)})
        assert len(found) <= nodes or len(of_tree) == 1
        ends += of_tree
    assert [ends[place] for place in back] == whole


def test_the_trees_fill_their_room() -> None:
    prompts, _ = sort(*batch([[i] for i in range(10, 110)]))  # each: a node of its own, and an end
    assert [len(tree.token) for tree in trees(prompts, 50)] == [50, 50, 50, 50]


def random_tower(**other: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    shape = {
        "vocab_size": 400,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 12,
        "bos_token_id": 1,
        "eos_token_id": END,
    }
    model = CLIPTextModel(CLIPTextConfig(**{**shape, **other})).eval()
    for parameter in model.parameters():  # far from the start, where layers do next to nothing
        torch.nn.init.normal_(parameter, std=0.2)
    return getattr(model, "text_model", model)


@pytest.mark.parametrize(
    "other",
    [{}, {"attn_implementation": "eager"}, {"hidden_act": "gelu"}, {"num_hidden_layers": 1}],
    ids=str,
)
@given(prompts=PROMPTS)
@settings(max_examples=25)
def test_rows_are_those_of_the_plain_way(other: dict[str, Any], prompts: list[list[int]]) -> None:
    inner = random_tower(**other)
    ids, length = batch(prompts)
    with torch.no_grad():
        rows = inner(input_ids=ids).last_hidden_state[range(len(ids)), length - 1]
    assert torch.allclose(pooled_by_tree(inner, ids, length), rows, atol=1e-5)
    assert is_plain_clip(inner)


HARD = [
    "", "a", "a cat", "a cat asleep", "a cat asleep on", "a cat", "A  CAT ", "a dog", "cat a",
    "wow! a cat!!", "<|endoftext|> a", "é", "e\u0301", "猫", "😀😀", "a " * 75, "a " * 74,
    "a " * 75 + "b", "1984", "!", "a !",
]  # fmt: skip


def test_hard_strings(any_clip, caplog) -> None:
    tokens = tokenize(any_clip, HARD)
    plain = embed(any_clip, tokens)
    ids, mask = tokens["input_ids"].to(any_clip.device), tokens["attention_mask"]
    found = pooled_by_tree(any_clip.inner, ids, mask.sum(-1).to(any_clip.device))
    assert found.shape == plain.pooler_output.shape
    assert found.dtype == plain.pooler_output.dtype
    assert torch.allclose(found, plain.pooler_output, atol=1e-5)


def test_ten_thousand_the_same_are_one(clip) -> None:
    tokens = tokenize(clip, "a red heart")
    ids = tokens["input_ids"].expand(10_000, -1)
    length = tokens["attention_mask"].sum(-1).expand(10_000)
    (tree,) = trees(sort(ids, length)[0], 512)
    assert len(tree.token) == 5
    found = pooled_by_tree(clip.inner, ids, length)
    assert found.shape[0] == 10_000
    assert (found == found[0]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype) -> None:
    inner = random_tower()
    ids, length = batch([[1, 2], [1, 2, 255], [1], [300] * 9])
    exact = pooled_by_tree(inner, ids, length)
    rough = pooled_by_tree(inner.to(dtype), ids, length)
    assert rough.dtype == dtype
    room = 40 * torch.finfo(dtype).eps  # of the length of a row: each layer rounds some times
    assert ((rough.float() - exact).norm(dim=-1) < room * exact.norm(dim=-1)).all()


@pytest.mark.parametrize("part", ["layers", "self_attn", "embeddings"])
def test_other_parts_do_not_fit(part: str) -> None:
    inner = random_tower()
    thing = {
        "layers": inner.encoder.layers[1],
        "self_attn": inner.encoder.layers[2].self_attn,
        "embeddings": inner.embeddings,
    }[part]
    thing.__class__ = type("Other", (type(thing),), {})
    assert not is_plain_clip(inner)


@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook", "forward"])
@pytest.mark.parametrize("part", ["inner", "encoder", "embeddings", "layer", "self_attn"])
def test_hooked_parts_do_not_fit(part: str, hook: str) -> None:
    inner = random_tower()
    layer = inner.encoder.layers[1]
    parts = {"inner": inner, "encoder": inner.encoder, "embeddings": inner.embeddings}
    thing = {**parts, "layer": layer, "self_attn": layer.self_attn}[part]
    if hook == "forward":
        thing.forward = lambda *given, **more: None
    else:
        handle = getattr(thing, hook)(lambda *given: None)
    assert not is_plain_clip(inner)
    if hook == "forward":
        thing.forward = type(thing).forward.__get__(thing)  # its own, put back
    else:
        handle.remove()
    assert is_plain_clip(inner)


def test_layers_that_transformers_listens_to_fit() -> None:
    inner = random_tower(attn_implementation="eager")
    inner(input_ids=torch.tensor([[1, END]]), output_hidden_states=True, output_attentions=True)
    assert is_plain_clip(inner)


def test_shared_beginnings_fill_their_room_too() -> None:
    """A tree begins with all nodes of its first prompt, and shares from then on."""
    prompts, _ = sort(*batch([[7, 8, 9, i] for i in range(10, 60)]))
    counts = [len(tree.token) for tree in trees(prompts, 43)]
    assert counts == [43, 43, 23]  # 3 shared, and 20, 20, 10 prompts of two nodes


@pytest.mark.parametrize("nodes", [1, 77, 100, 5000])
def test_trees_side_by_side(nodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of different sizes, with different numbers of prompts; one, some, or all at once."""
    random = torch.Generator().manual_seed(1)
    sizes = torch.randint(0, 10, (300,), generator=random).tolist()
    prompts = [torch.randint(4, 9, (size,), generator=random).tolist() for size in sizes]
    inner = random_tower()
    ids, length = batch(prompts)
    with torch.no_grad():
        rows = inner(input_ids=ids).last_hidden_state[range(len(ids)), length - 1]
    monkeypatch.setitem(helpers.tree.NODES, "cpu", nodes)
    ran = []
    usual = helpers.tree.run
    monkeypatch.setattr(
        helpers.tree, "run", lambda inner, some: ran.append(some) or usual(inner, some)
    )
    assert torch.allclose(pooled_by_tree(inner, ids, length), rows, atol=1e-5)
    nodes_at_once = [sum(len(tree.token) for tree in some) for some in ran]
    # twice: it is narrow; 11: the longest prompt alone, and its end
    assert max(nodes_at_once) <= max(2 * nodes, 11)
    assert (len(ran) == 1) == (nodes == 5000)
    assert nodes < 5000 or len({len(tree.token) for tree in ran[0]}) > 1


def test_far_fewer_nodes_than_places(clip) -> None:
    """What it is for: templates times names share their beginnings."""
    prompts = [
        f"{start} {x}"
        for start in ("a picture of a", "a drawing of a")
        for x in ("fox", "cat", "dog")
    ]
    tokens = tokenize(clip, prompts)
    found = trees(
        sort(tokens["input_ids"], tokens["attention_mask"].sum(-1))[0], helpers.tree.NODES["cpu"]
    )
    count = sum(len(tree.token) for tree in found)
    assert count == 1 + 1 + 2 * (3 + 2 * 3)  # start, a; picture/drawing of a; each name and its end
    assert math.prod(tokens["input_ids"].shape) == 6 * 77


# --- embed(rows=False) ---------------------------------------------------------------------------


@pytest.mark.parametrize("attention_mask", [False, None, True])
def test_embed_without_rows(any_clip, attention_mask: bool | None) -> None:
    plain = embed(any_clip, HARD, attention_mask=attention_mask)
    fast = embed(any_clip, HARD, attention_mask=attention_mask, rows=False)
    assert fast.last_hidden_state is None
    assert "last_hidden_state None, because of rows=False" in repr(fast)
    assert torch.allclose(fast.pooler_output, plain.pooler_output, atol=1e-5)
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(getattr(fast, name), getattr(plain, name))
    if plain.text_embeds is None:
        assert fast.text_embeds is None
    else:
        assert torch.allclose(fast.text_embeds, plain.text_embeds, atol=1e-5)


def test_one_text_and_ids_without_rows(clip) -> None:
    ids = tokenize(clip, "a cat")["input_ids"][0]
    for texts in ("a cat", ids, ids[None], tokenize(clip, "a cat", padding="longest")):
        assert torch.allclose(
            embed(clip, texts, rows=False).pooler_output,
            embed(clip, texts).pooler_output,
            atol=1e-5,
        )


@pytest.mark.parametrize("inside", [False, True])
def test_a_mask_that_hides_a_word_takes_the_plain_way(clip, inside: bool) -> None:
    """The tree knows nothing of masks, given alone or inside the tokens."""
    tokens = tokenize(clip, ["a red cat", "a blue cat"])
    mask = tokens["attention_mask"].clone()
    mask[:, 2] = 0
    tokens["attention_mask"] = mask if inside else tokens["attention_mask"]
    plain = embed(clip, tokens, attention_mask=True if inside else mask)
    fast = embed(clip, tokens, attention_mask=True if inside else mask, rows=False)
    assert fast.last_hidden_state is None
    assert torch.equal(fast.pooler_output, plain.pooler_output)
    assert not torch.allclose(embed(clip, tokens, rows=False).pooler_output, plain.pooler_output)


@pytest.mark.parametrize("mask", [False, None, True, "theirs", "a word", "behind the end"])
def test_the_tree_is_taken_wherever_it_is_right(clip, mask: Any, monkeypatch) -> None:
    tokens = tokenize(clip, ["a red cat", "a blue cat"])
    if isinstance(mask, str):
        chosen = tokens["attention_mask"].clone()
        if mask == "a word":
            chosen[1, 2] = 0
        if mask == "behind the end":  # nothing that is read before it
            chosen[:, 40] = 1
        mask, hidden = chosen, mask == "a word"
    else:
        hidden = False
    taken = []
    usual = helpers.tree.pooled_by_tree
    monkeypatch.setattr(
        helpers.tree, "pooled_by_tree", lambda *given: taken.append(1) or usual(*given)
    )
    fast = embed(clip, tokens, attention_mask=mask, rows=False)
    assert taken == ([] if hidden else [1])
    plain = embed(clip, tokens, attention_mask=mask)
    assert taken == ([] if hidden else [1])
    assert torch.allclose(fast.pooler_output, plain.pooler_output, atol=1e-5)


@pytest.mark.parametrize("rows", [True, False])
def test_without_a_projection_nothing_is_projected(clip, rows: bool) -> None:
    found = embed(replace(clip, text_projection=None), "a cat", rows=rows)
    assert found.text_embeds is None
    assert (found.last_hidden_state is None) != rows


def test_strange_layers_take_the_plain_way(clip, monkeypatch) -> None:
    monkeypatch.setattr(helpers.embeddings, "is_plain_clip", lambda inner: False)
    monkeypatch.setattr(helpers.tree, "pooled_by_tree", None)  # would be an error
    fast = embed(clip, ["a cat", "a dog"], rows=False)
    assert torch.equal(fast.pooler_output, embed(clip, ["a cat", "a dog"]).pooler_output)
    assert fast.last_hidden_state is None

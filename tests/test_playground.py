"""The playground, in a real browser: equal to ``helpers``, usable, and alone with itself.

Needs Playwright, Chromium and the page that ``make playground`` builds; skipped, with the reason,
where one is absent. The page is opened from ``file://``, as a reader may open it.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import torch
from conftest import ROOT
from test_playground_build import links
from test_tokens import INJECTIONS

from helpers import clean, embed, load_pipeline, nearest, paint, tokenize

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
PAGE = Path(os.environ.get("PLAYGROUND", ROOT / "build" / "playground")) / "index.html"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = ROOT / "tools" / "playground" / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    pytest.mark.skipif(not PAGE.is_file(), reason="no page: 'make playground' builds it"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
PANELS = ("tokens", "rows", "nearest", "draw")
# How much pictures may differ where they differ most: PIL rounds by up to 0.5, and both compute in
# float32 with weights shipped in float16, so that little is left for the order of the sums.
PIXEL = 0.6 / 255


def strings_of_notebook(cell: str, name: str) -> list[str]:
    """The text constants that notebook 01 puts into a variable."""
    notebook = json.loads((ROOT / "notebooks" / "01_tokenizing.ipynb").read_text())
    [source] = ["".join(c["source"]) for c in notebook["cells"] if c["id"] == cell]
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == name:
            value = statement.value
            items = value.values if isinstance(value, ast.Dict) else value.elts
            return [eval(compile(ast.Expression(i), cell, "eval")) for i in items]
    raise AssertionError(f"{cell} has no {name}")


def prompts() -> list[str]:
    names = [entry["name"] for entry in json.loads((ROOT / "helpers/data/emoji.json").read_text())]
    templates = ["a photo of {}", "{}, {}!", "The {} and {}’s friend", "{} &amp;amp; {}"]
    made = [templates[n % 4].format(name, names[-n]) for n, name in enumerate(names[::6])]
    hard = [
        *strings_of_notebook("01-hard-strings", "hard"),
        *INJECTIONS,
        "a cafÃ© in MÃ¼nchen",
        "CafÃ© 🦄 and ðŸ¦„, itâ€™s here",
        "Ãbc, Àé, naïve Œuvre, 25 °C, £3, “ñ”, São Paulo, PIÑATA, Åse",
        "the cat’s “red” chair",
        "cats &amp;amp; dogs",
        "1 < 2 &amp;amp; 3",
        "a ﬁne ﬂower",
        "ＡＢＣ　！",
        " a  red\n\tdress ",
        "a \x1b[31mred\x1b[0m dress",
        "a\tb\n\nc\u00a0d\u2003e",
        "",
        " ",
        "!!!",
        "'s 't don't CAN'T we'll",
        "1984 ½ ² Ⅷ",
        "你好 🦄 👩‍🚀 🇫🇷 नमस्ते สวัสดี",
        "ΣΊΣΥΦΟΣ İstanbul STRASSE ß",
        "e\u0301 \u212b",
        "&eacute; &copy &notit; &#x1F984; &lt;|endoftext|&gt;",
        "very " * 100,
        "🦄" * 40,
        "a" * 500,
        "x\u200by\ufeffz\x00",
    ]
    return [*hard, *names[::3], *made]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def opened(
    browser: Any, state: str = "", address: str | None = None, **options: Any
) -> tuple[Any, list[str]]:
    """A page, and the list of what went wrong on it: requests that leave it, and errors."""
    page = browser.new_page(**options)
    wrong: list[str] = []
    own = address or PAGE.parent.resolve().as_uri()
    page.on("request", lambda r: None if r.url.startswith((own, "data:")) else wrong.append(r.url))
    page.on("requestfailed", lambda r: wrong.append(f"failed: {r.url}"))
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{own}/index.html{state}")
    page.wait_for_function("globalThis.playground")
    return page, wrong


@pytest.fixture(scope="module")
def page(browser: Any) -> Any:
    return opened(browser)[0]


# --- parity ---


def test_ids_and_vectors_are_those_of_helpers(page: Any, clip: Any) -> None:
    texts = prompts()
    assert len(texts) >= 500
    found = page.evaluate(
        """texts => texts.map((text) => {
            const e = playground.encode(text);
            return {
                clean: playground.clean(text), ids: playground.tokenize(text),
                pooled: [...e.pooled], projected: [...e.projected],
                nearest: ["pooled", "projected"].map(
                    (out) => playground.nearest(text, 1, {out})[0].index),
            };
        })""",
        texts,
    )
    wanted = embed(clip, texts, rows=False)
    tokens = tokenize(clip, texts)
    names = [entry["name"] for entry in json.loads((ROOT / "helpers/data/emoji.json").read_text())]
    table = embed(clip, names, rows=False)
    for n, (text, one) in enumerate(zip(texts, found, strict=True)):
        assert one["clean"] == clean(text), ascii(text)
        ids = tokens["input_ids"][n][tokens["attention_mask"][n] == 1].tolist()
        assert one["ids"] == ids, ascii(text)
    for out, name in (("pooled", "pooler_output"), ("projected", "text_embeds")):
        rows = torch.tensor([one[out] for one in found])
        cosines = torch.cosine_similarity(rows, getattr(wanted, name))
        assert cosines.min() > 1 - 1e-3
        first = nearest(getattr(wanted, name), getattr(table, name), 1).indices[:, 0].tolist()
        assert [one["nearest"][out == "projected"] for one in found] == first
        print(f"{len(texts)} prompts, {out}: worst cosine {cosines.min():.7f}")


@pytest.mark.parametrize("padding", ["plain", "masked"])
def test_padded_rows_are_those_of_helpers(page: Any, clip: Any, padding: str) -> None:
    for text in ("a photo of a cat", "", "🦄 &amp; friends"):
        rows = page.evaluate(
            "([text, padding]) => [...playground.encode(text, {padding}).rows]", [text, padding]
        )
        wanted = embed(clip, text, attention_mask=padding == "masked").last_hidden_state[0]
        cosines = torch.cosine_similarity(torch.tensor(rows).reshape(wanted.shape), wanted)
        assert cosines.min() > 1 - 1e-3


def test_the_untrained_tower_is_the_one_its_names_were_packed_with(page: Any) -> None:
    """The packed vectors come from transformers on the same random weights."""
    names = page.evaluate(
        """() => ["pizza", "cat face", "red heart", "fire engine"].map((text) => [
            text, ...["pooled", "projected"].map(
                (out) => playground.nearest(text, 1, {out, trained: false})[0])])"""
    )
    for name, *found in names:
        for one in found:
            assert one["name"] == name
            assert one["cosine"] > 1 - 1e-5


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("a fox", {}),
        ("an animal", {"seed": 7, "steps": 16, "guidance": 2.5}),
        ("a detailed pizza on a purple background", {"seed": 2**32 - 1, "guidance": 7.5}),
        ("a person at work", {"seed": 3, "steps": 12, "guidance": 1}),
        ("a cat and a rocket", {"padding": "masked", "steps": 12}),
    ],
)
def test_pictures_are_those_of_paint(
    page: Any, clip: Any, prompt: str, options: dict[str, Any]
) -> None:
    page.evaluate("playground.paint('', {steps: 1})")  # loads the model
    pixels, seconds = page.evaluate(
        """async ([p, options]) => {
            const start = performance.now(), pixels = await playground.paint(p, options);
            return [[...pixels], (performance.now() - start) / 1000];
        }""",
        [prompt, options],
    )
    side = round((len(pixels) / 3) ** 0.5)
    drawn = np.array(pixels).reshape(3, side, side).transpose(1, 2, 0)
    masked = options.get("padding") == "masked"
    [wanted] = paint(
        load_pipeline(clip),
        embed(clip, prompt, attention_mask=masked),
        negative_prompt=embed(clip, "", attention_mask=masked),
        seeds=options.get("seed", 0),
        guidance_scale=options.get("guidance", 4.0),
        num_inference_steps=options.get("steps", 20),
    )
    difference = np.abs(drawn - np.asarray(wanted) / 255)
    print(
        f"{prompt}: largest {difference.max() * 255:.3f}, mean {difference.mean() * 255:.3f} of "
        f"255; {seconds:.1f} s for {options.get('steps', 20)} steps"
    )
    assert difference.max() <= PIXEL


def test_another_seed_is_another_picture(page: Any) -> None:
    pictures = page.evaluate(
        """async () => {
            const made = [];
            for (const seed of [0, 1, 0])
                made.push([...await playground.paint("an animal", {seed, steps: 8})]);
            return made;
        }"""
    )
    first, other, again = map(np.array, pictures)
    assert (first == again).all()
    assert np.abs(first - other).mean() > 0.1


@pytest.mark.parametrize(
    "settings",
    [
        {"prediction_type": "epsilon", "timestep_spacing": "leading", "steps_offset": 1},
        {"prediction_type": "epsilon", "set_alpha_to_one": False, "beta_schedule": "linear"},
        {"prediction_type": "v_prediction", "timestep_spacing": "trailing", "clip_sample": True},
        {
            "prediction_type": "v_prediction",
            "timestep_spacing": "trailing",
            "rescale_betas_zero_snr": True,
        },
    ],
)
@pytest.mark.parametrize("steps", [7, 16, 50])
def test_the_scheduler_is_the_one_of_diffusers(page: Any, settings: Any, steps: int) -> None:
    from diffusers import DDIMScheduler

    settings = {"beta_schedule": "scaled_linear", "clip_sample": False} | settings
    wanted = DDIMScheduler(beta_start=0.00085, beta_end=0.012, **settings)
    wanted.set_timesteps(steps)
    config = json.loads(json.dumps(dict(wanted.config)))
    times = page.evaluate("([c, s]) => playground.makeScheduler(c, s).timesteps", [config, steps])
    assert times == wanted.timesteps.tolist()
    answer, sample = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    for time in times:
        found = page.evaluate(
            """([c, s, answer, t, x]) => {
                const { next, picture } = playground.makeScheduler(c, s).step(answer, t, x);
                return [[...next], [...picture]];
            }""",
            [config, steps, answer.tolist(), time, sample.tolist()],
        )
        step = wanted.step(answer, time, sample)
        torch.testing.assert_close(torch.tensor(found[0]), step.prev_sample, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(
            torch.tensor(found[1]), step.pred_original_sample, rtol=1e-3, atol=1e-3
        )


# --- a walk through the panels ---


def test_tokens(browser: Any, clip: Any) -> None:
    page, wrong = opened(browser)
    page.fill("#prompt", "  A  cafÃ©\n&amp; TEA ")
    playwright.expect(page.locator("#cleaned")).to_have_text("a café & tea")
    ids = tokenize(clip, "a café & tea", padding="longest")["input_ids"][0].tolist()
    assert page.locator("#chips small").all_inner_texts() == list(map(str, ids))
    page.fill("#prompt", "very " * 80)
    playwright.expect(page.locator("#lost")).to_be_visible()
    playwright.expect(page.locator("#token-count")).to_contain_text("5 tokens do not fit")
    playwright.expect(page.locator("#bytes")).to_be_hidden()
    page.get_by_role("button", name="emoji and accents").click()
    playwright.expect(page.locator("#bytes")).to_be_visible()
    page.get_by_role("button", name="nothing").click()
    playwright.expect(page.locator("#chips li")).to_have_count(2)
    assert wrong == []


def test_links_of_the_notebooks_show_their_example(browser: Any) -> None:
    for notebook in sorted((ROOT / "notebooks").glob("0[0-7]*.ipynb")):
        for state in links(notebook):
            page, wrong = opened(browser, f"#{urlencode(state)}")
            panel = state.get("panel", "tokens")
            playwright.expect(page.locator(f"#{panel}")).to_be_visible()
            assert page.input_value("#prompt") == state["p"]
            for key, field in {"q": "#second", "b": "#b", "c": "#c", "t": "#t", "g": "#g"}.items():
                assert page.input_value(field) == state.get(key, page.input_value(field))
            assert wrong == []
            page.close()


def test_rows(browser: Any) -> None:
    page, wrong = opened(browser)
    page.get_by_role("tab", name="Rows").click()
    # start, a, photo, of, a
    playwright.expect(page.locator("#shared")).to_contain_text("The first 5 rows are the same")
    playwright.expect(page.locator("#row-chips .lit")).to_have_count(5)
    assert page.locator("#path canvas").count() == 7  # table, position, four layers, final norm
    page.fill("#second", "one cat")
    playwright.expect(page.locator("#shared")).to_contain_text("The first 1 row is the same")
    cells = page.locator("#padding td").all_inner_texts()
    assert cells[0] == cells[2] == "0 (equal)"  # padding does not touch the text's rows
    assert float(cells[3]) > 0.1  # but a mask changes the rows of the padding
    playwright.expect(page.locator("#verdict")).to_contain_text(
        "the same with no padding, padding, or"
    )
    playwright.expect(page.locator("#verdict")).to_contain_text(
        f"changes them (by up to {cells[3]})"
    )
    page.select_option("#pad", "masked")
    # a photo of a cat: seven tokens, five pads, and the others
    playwright.expect(page.locator("#row-chips li")).to_have_count(7 + 5 + 1)
    playwright.expect(page.locator("#row-chips li").last).to_have_text(f"pad × {77 - 7 - 5}")
    page.select_option("#layer", "4")
    page.select_option("#row", "3")
    playwright.expect(page.locator("#looks")).to_contain_text("Layer 4, head 1: row 3 (photo)")
    page.select_option("#row", "1")
    playwright.expect(page.locator("#looks")).to_contain_text("looks only at itself")
    page.fill("#prompt", "very " * 80)
    playwright.expect(page.locator("#verdict")).to_contain_text("fills all 77 rows")
    page.get_by_role("button", name="one word differs", exact=True).click()
    assert page.input_value("#pad") == "none"  # nothing of what was set before stays
    assert page.url.endswith("#panel=rows")
    assert wrong == []


def test_nearest_and_the_link(browser: Any) -> None:
    page, wrong = opened(browser)
    page.get_by_role("tab", name="Nearest").click()
    page.fill("#prompt", "pizza")
    playwright.expect(page.locator("#found li span").first).to_have_text("pizza")
    playwright.expect(page.locator("#found-untrained li span").first).to_have_text("pizza")
    playwright.expect(page.locator("#signs")).to_be_hidden()
    page.fill("#prompt", "king - man + woman")
    playwright.expect(page.locator("#signs")).to_be_visible()
    page.fill("#prompt", "")
    playwright.expect(page.locator("#formula")).to_contain_text("the empty prompt")
    page.get_by_role("button", name="red heart − red + blue").click()
    playwright.expect(page.locator("#formula")).to_contain_text("− “red” + “blue”")
    playwright.expect(page.locator("#found li span").first).to_have_text("blue heart")
    page.locator("#minus").fill("0.5")
    playwright.expect(page.locator("#formula")).to_contain_text("0.5 × “red”")
    again, more = opened(browser, "#" + page.url.split("#")[1])
    for field in ("#prompt", "#b", "#c", "#minus", "#plus"):
        assert again.input_value(field) == page.input_value(field)
    assert again.locator("#found").inner_text() == page.locator("#found").inner_text()
    assert wrong == more == []


def test_draw_and_stop(browser: Any) -> None:
    page, wrong = opened(browser, "#panel=draw&p=pizza&steps=4")
    loaded = (PAGE.parent / name for name in ("weights-draw.js", "engine.js"))
    megabytes = sum(file.stat().st_size for file in loaded) / 1e6
    playwright.expect(page.locator("#draw-size")).to_contain_text(f"{megabytes:.0f} MB are read")
    playwright.expect(page.locator("#hint")).to_contain_text("Press Draw to make the picture")
    page.locator("#go").click()
    playwright.expect(page.locator("#drawn")).to_contain_text("Done", timeout=60_000)
    for where in (page.get_attribute("#picture", "aria-label"), page.inner_text("#drawn")):
        assert "“pizza”, seed 0, guidance 4, 4 steps" in where
    playwright.expect(page.locator("#hint")).to_be_empty()
    page.get_by_role("button", name="half fox, half frog").click()
    playwright.expect(page.locator("#hint")).to_have_text("Settings changed: press Draw.")
    playwright.expect(page.locator("#picture")).to_have_class("old")
    playwright.expect(page.locator("#kept")).to_be_hidden()
    # the former picture stays dimmed until there is something of the new one
    seen = page.evaluate("(go.click(), [picture.className, hint.textContent])")
    assert seen == ["old", ""]
    playwright.expect(page.locator("#drawn")).to_contain_text("“frog”, mixed", timeout=60_000)
    playwright.expect(page.locator("#picture")).to_have_class("")
    kept = page.locator("#earlier figcaption")
    assert kept.all_inner_texts() == [
        "“fox” and “frog”, mixed (share of the second 0.5), seed\u00a00",
        "“pizza”, seed\u00a00",
    ]
    page.locator("#steps").fill("50")
    playwright.expect(page.locator("output[for=steps]")).to_have_text("50")
    page.locator("#go").click()
    page.wait_for_function("progress.value > 4")  # something of the new one is seen
    playwright.expect(page.locator("#picture")).to_have_class("")
    page.locator("#stop").click()
    playwright.expect(page.locator("#drawn")).to_have_text("Stopped.", timeout=20_000)
    playwright.expect(page.locator("#go")).to_be_enabled()
    playwright.expect(page.locator("#picture")).to_have_class("old")
    playwright.expect(page.locator("#hint")).to_have_text(
        "This picture is not finished: press Draw to begin again."
    )
    assert page.get_attribute("#picture", "aria-label") == "An unfinished picture"
    assert kept.count() == 2  # it is not kept
    assert page.evaluate("document.activeElement.id") == "stop"  # the focus is not lost
    assert wrong == []


def test_enter_draws_and_a_wrong_seed_does_not(browser: Any) -> None:
    page, wrong = opened(browser, "#panel=draw&p=pizza&steps=2&dpad=masked")
    assert page.input_value("#padded") == "masked"
    page.locator("#seed").fill("-3.5")
    page.locator("#seed").press("Enter")
    page.wait_for_timeout(300)
    playwright.expect(page.locator("#drawn")).to_be_empty()
    assert "seed" not in page.url  # nor does it go into the link
    page.locator("#seed").fill("7")
    page.locator("#seed").press("Enter")
    playwright.expect(page.locator("#drawn")).to_contain_text("Done", timeout=60_000)
    playwright.expect(page.locator("#drawn")).to_contain_text("seed 7")
    playwright.expect(page.locator("#drawn")).to_contain_text("padding with the mask")
    page.get_by_role("button", name="Draw the next seed").click()
    playwright.expect(page.locator("#drawn")).to_contain_text("seed 8", timeout=60_000)
    assert "seed=8" in page.url
    assert wrong == []


@pytest.mark.parametrize("seed", ["-3.5", "-1", "1.5", str(2**32)])
def test_a_link_with_a_wrong_seed_gives_the_first(browser: Any, seed: str) -> None:
    page, wrong = opened(browser, f"#panel=draw&seed={seed}")
    assert page.input_value("#seed") == "0"
    assert wrong == []


def test_a_screen_reader_is_told_once_when_the_typing_pauses(browser: Any) -> None:
    page, _ = opened(browser, "#panel=nearest&p=prince")
    page.evaluate(
        """() => {
            globalThis.told = [];
            const see = (changes) => { for (const {target} of changes) {
                const at = target.closest ? target : target.parentElement;
                const status = at.closest("[role=status]");
                if (status?.textContent) told.push(status.textContent);
            } };
            const options = {childList: true, characterData: true, subtree: true};
            new MutationObserver(see).observe(document.body, options);
        }"""
    )
    page.locator("#prompt").fill("")
    page.locator("#prompt").press_sequentially("pizza", delay=120)
    page.wait_for_timeout(1500)
    [told] = page.evaluate("told")
    found = [
        page.locator(f"#{list} li").first.inner_text().split("\n")[0]
        for list in ("found", "found-untrained")
    ]
    assert told.startswith(f"Nearest: {found[0]} 1.00; untrained: {found[1]} 1.00")


def test_from_a_server_too(browser: Any) -> None:
    handler = partial(Quiet, directory=str(PAGE.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        page, wrong = opened(browser, "#panel=draw&p=pizza&steps=2", address=address)
        page.locator("#go").click()
        playwright.expect(page.locator("#drawn")).to_contain_text("Done", timeout=60_000)
        assert wrong == []
        page.close()
        server.shutdown()


def test_by_keyboard(browser: Any) -> None:
    page, _ = opened(browser)
    page.locator("#tab-tokens").focus()
    for name in ("rows", "nearest", "draw", "tokens"):
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == f"tab-{name}"
        playwright.expect(page.locator(f"#{name}")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious_and_nothing_sticks_out(
    browser: Any, width: int, scheme: str
) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: 'make playground' installs it")
    for panel in PANELS:
        page, wrong = opened(
            browser,
            f"#panel={panel}&p={'very%20' * 80}cat&minus=1&pad=plain",
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
        )
        page.add_script_tag(path=AXE)
        found = page.evaluate("async () => (await axe.run({preload: false})).violations")
        serious = [f for f in found if f["impact"] in ("serious", "critical")]
        assert [(f["id"], f["nodes"][0]["html"]) for f in serious] == [], panel
        assert page.evaluate("document.documentElement.scrollWidth") <= width, panel
        assert wrong == [], panel
        page.close()

"""The registry's pages in a real Chromium: what a person sees and does, with the keyboard, in the dark, on a phone."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, expect, sync_playwright

from tests import debian
from tests.unit.registry import lived
from tests.unit.registry.serving import post, serving

TOKEN = "a-long-secret"
WAIT_MS = 60_000
"""What comes at once comes late on a busy machine."""
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
MODEL, MARKED = "/models/flights", "/models/marked"
PAGES = (
    "/", MODEL, f"{MODEL}/incidents", f"{MODEL}/fields", f"{MODEL}/versions/9", f"{MODEL}/decide?act=pin&version=3",
    "/sign-in", "/models/nothing",
)  # fmt: skip
DRAWN = """canvas => {
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Set();
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) colours.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
  return [...colours];
}"""
COLUMNS = """(canvas, names) => {
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const colours = palette();
  return names.map(name => {
    const wanted = colours[name].match(/\\d+/g).map(Number);
    const count = Array(canvas.width).fill(0);
    for (let i = 0; i < data.length; i += 4)
      if (data[i + 3] === 255 && wanted.every((value, at) => data[i + at] === value)) count[i / 4 % canvas.width]++;
    const most = Math.max(...count);
    return most < 5 ? null : count.indexOf(most) / devicePixelRatio;
  });
}"""
"""Where on a plot each of these colours of the page has most pixels in a column."""
MIDDLES = "all => all.map(one => one.getBoundingClientRect()).map(box => box.top + box.height / 2)"
CONTRASTS = """() => {
  const pen = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d", {willReadFrequently: true});
  const over = (colours) => {
    pen.clearRect(0, 0, 1, 1);
    for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).map(v => v / 255);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const texts = [...document.querySelectorAll("body *")].filter(element =>
    element.checkVisibility() && !element.closest("svg, .uplot, .skip, [disabled]")
    && [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  return texts.map(element => {
    const grounds = [];
    for (let at = element; at; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
    const pair = [over(grounds), over([...grounds, getComputedStyle(element).color])].map(light).sort();
    return [(pair[1] + 0.05) / (pair[0] + 0.05), `${element.tagName} ${element.className}: ${element.textContent.slice(0, 40)}`];
  });
}"""


def chromium() -> str:
    """Path of a Chromium: the one that is there, or Debian's package; without one the test fails and says so."""
    if shutil.which("chromium") is None:
        debian.install("chromium")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail(
            f"the tests of the pages need Chromium: as root, {' '.join(debian.INSTALL)} chromium", pytrace=False
        )
    return found


@pytest.fixture(scope="module")
def registry(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A registry with a token, a model with a past, and what drift has told of it on a real broker."""
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    env = {
        "RIVERMILL_REGISTRY_TOKEN": TOKEN, "RIVERMILL_SIGNING_KEY": lived.KEY, "RIVERMILL_BROKER": broker,
    }  # fmt: skip
    lived.tell(broker, "flights", list(lived.alerts("flights")), list(lived.summaries(60)))
    with serving(tmp_path_factory.mktemp("pages"), env) as client:
        lived.publish(client, "flights", 12, bearer)
        mark(client, broker, bearer)
        deadline = time.monotonic() + 60
        while (
            "wind: share" not in client.get(f"{MODEL}/incidents").text
            or "wind" not in client.get(f"{MODEL}/fields").text
            or "wind: share" not in client.get(f"{MARKED}/incidents").text
        ):
            assert time.monotonic() < deadline, client.get(f"{MODEL}/incidents").text
            time.sleep(0.1)
        yield client


def mark(client: httpx.Client, broker: str, bearer: dict[str, str]) -> None:
    """A model whose incidents and whose promotion lie between its versions."""
    for offset, told in enumerate(lived.alerts("marked")):
        post(client, "marked", b"%d" % offset, bearer, offset=offset).raise_for_status()
        lived.tell(broker, "marked", [told], [])
    post(client, "marked", b"sgd", bearer, candidate="sgd", offset=3).raise_for_status()
    time.sleep(0.5)  # some width on the plots
    wanted = {"version": 4, "reason": "better"}
    client.put(f"/api/v1{MARKED}/aliases/champion", json=wanted, headers=bearer).raise_for_status()
    time.sleep(0.5)
    post(client, "marked", b"newest", bearer, offset=4).raise_for_status()


@pytest.fixture(scope="module")
def browser(registry: httpx.Client) -> Iterator[Browser]:  # noqa: ARG001 - what the registry needs is done before
    path = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        expect.set_options(timeout=WAIT_MS)
        yield started
        started.close()


class Seen:
    """What a browser did while a test ran: every host it asked, every complaint of a page."""

    def __init__(self, context: BrowserContext) -> None:
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        self.expected: set[str] = set()
        context.on("request", self._request)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))

    def _request(self, request: Request) -> None:
        self.hosts.add(urlsplit(request.url).netloc)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(word in message.text for word in self.expected):
            self.complaints.append(message.text)


@pytest.fixture
def context(browser: Browser, registry: httpx.Client, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A browser's window of its own, with the test's ``options``; nothing may be asked of another host, none complained."""
    options = getattr(request, "param", {})
    opened = browser.new_context(base_url=str(registry.base_url), **options)
    opened.set_default_timeout(WAIT_MS)
    seen = Seen(opened)
    seen.expected.add("status of 404")  # Chromium notes the page that is not there
    yield opened
    opened.close()
    assert seen.hosts == {registry.base_url.netloc.decode()}
    assert seen.complaints == []


def tab_to(page: Page, wanted: Locator) -> None:
    """Press the tabulator until the element has the focus, which must be seen there."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            assert wanted.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
            return
    pytest.fail(f"the keyboard does not reach {wanted}")


def test_a_candidate_is_promoted_with_the_keyboard_alone(context: BrowserContext, registry: httpx.Client) -> None:
    """From the list of models to a promotion in the log, signing in on the way, without touching a mouse."""
    page = context.new_page()
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_in_viewport()
    tab_to(page, page.get_by_role("link", name="flights", exact=True))
    page.keyboard.press("Enter")
    tab_to(page, page.locator("#promote-champion-sgd"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("main").get_by_role("link", name="sign in"))
    page.keyboard.press("Enter")
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Promote: champion of flights")
    expect(page.get_by_label("Why")).to_be_focused()
    page.keyboard.type("lower loss for a week")
    page.keyboard.press("Enter")
    entry = page.locator("#log tbody tr").filter(has_text="lower loss for a week")
    expect(entry).to_have_count(1)
    expect(entry).to_contain_text("promoted")
    expect(page.locator("#served .card.first")).to_contain_text("sgd")
    champion = registry.get(f"/api/v1{MODEL}").json()["aliases"]["champion"]
    assert (champion["candidate"], champion["live"], champion["reason"]) == ("sgd", True, "lower loss for a week")
    assert page.evaluate("document.cookie") == ""


@pytest.mark.parametrize(
    "context", [{"color_scheme": scheme} for scheme in ("light", "dark")], indirect=True, ids=["light", "dark"]
)
def test_every_page_can_be_read_and_the_plots_are_drawn(context: BrowserContext) -> None:
    """In both schemes all text has the contrast of WCAG AA, and each plot shows a line of each candidate."""
    page = context.new_page()
    for address in PAGES:
        page.goto(address)
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 5
        assert [each for each in contrasts if each[0] < 4.5] == [], address
    page.goto(MODEL)
    expect(page.locator("canvas")).to_have_count(4)
    for i in range(4):
        drawn = page.locator("canvas").nth(i).evaluate(DRAWN)
        wanted = (
            page.locator("figure")
            .nth(i)
            .locator(".u-marker")
            .evaluate_all("all => all.slice(1).map(one => getComputedStyle(one).borderColor.match(/\\d+/g).join())")
        )
        assert len(wanted) == 2
        assert set(wanted) <= set(drawn)
    expect(page.locator("canvas").first).to_have_attribute(
        "aria-label", re.compile(r"newest: logistic 0\.\d+, sgd 0\.")
    )


def test_incidents_and_decisions_are_marked_on_the_plots(context: BrowserContext) -> None:
    """In both schemes, where each mark was drawn the plot says in words what happened."""
    page = context.new_page()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(MARKED)
        canvas = page.locator("canvas").first
        columns = canvas.evaluate(COLUMNS, ["warn", "bad", "text"])
        marks = ("distance: mean 1031 -> 1672", "wind: share of missing values", "promoted: sgd 4")
        for column, words in zip(columns, marks, strict=True):
            assert column is not None, (scheme, words)
            canvas.hover(position={"x": column, "y": 100}, force=True)
            expect(page.locator("figure .told").first).to_contain_text(words)


@pytest.mark.parametrize("context", [{"viewport": {"width": 360, "height": 740}}], indirect=True, ids=["phone"])
def test_no_page_is_wider_than_a_phone(context: BrowserContext) -> None:
    """At 360 pixels nothing but tables, in scrollers of their own, is wider than the window; what leads on is one line."""
    page = context.new_page()
    for address in PAGES:
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
        middles = page.locator("header nav > *").evaluate_all(MIDDLES)
        assert max(middles) - min(middles) <= 2, address
    page.goto(MODEL)
    expect(page.locator("canvas")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("context", [{"java_script_enabled": False}], indirect=True, ids=["no scripts"])
def test_without_scripts_everything_can_be_read(context: BrowserContext) -> None:
    """Incidents with their suspects, fields, lineage and canaries are there without a script."""
    page = context.new_page()
    page.goto(MODEL)
    expect(page.get_by_text("The plots need JavaScript")).to_be_visible()
    expect(page.locator("#versions tbody tr")).to_have_count(24)
    page.get_by_role("link", name="Incidents").click()
    expect(page.get_by_text("<script>alert(1)</script>")).to_be_visible()
    page.get_by_text("distance: mean 1031 -> 1672").click()
    expect(page.get_by_role("row", name=re.compile("^distance"))).to_contain_text("93.0 %")
    page.get_by_role("link", name="Fields").click()
    expect(page.get_by_role("row", name=re.compile("^wind"))).to_contain_text("40.0 %")
    page.goto(f"{MODEL}/versions/13")
    expect(page.get_by_text("What changed in the pipeline file")).to_be_visible()
    expect(page.locator(".diff .added", has_text='"rain"')).to_be_visible()
    page.get_by_text("Canary events: scoring").click()
    expect(page.get_by_role("region", name="Canary events").locator("tbody tr")).to_have_count(50)


def test_an_open_page_keeps_itself_up_to_date(context: BrowserContext, registry: httpx.Client) -> None:
    """What changes on the registry shows on a page that lies open, and the focus stays where it was."""
    page = context.new_page()
    page.clock.install()
    page.goto(MODEL)
    expect(page.locator("canvas")).to_have_count(4)
    page.locator("#rollback-champion").focus()
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    wanted = {"version": 2, "live": False, "reason": "while you look"}
    registry.put(f"/api/v1{MODEL}/aliases/champion", json=wanted, headers=bearer).raise_for_status()
    page.clock.run_for(11_000)
    expect(page.locator("#log")).to_contain_text("while you look")
    expect(page.locator("#served .card.first")).to_contain_text("pinned")
    assert page.evaluate("document.activeElement.id") == "rollback-champion"

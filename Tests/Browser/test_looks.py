"""The frame's looks, as far as figures can say: nothing sticks out, everything can be read, in two languages and lights."""

import pytest

from web import CHAT

from test_frame import converse, say, shown, words

#: For each text that is shown, its contrast with what is behind it (WCAG 2.2, relative luminance).
CONTRASTS = """
    const channels = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const color = channels(getComputedStyle(node).backgroundColor);
            if (color[3] !== 0) return color;
        }
        return [255, 255, 255];
    };
    return [...document.querySelectorAll("h1, #connection, .bubble, .meta, .speaker, #field, #empty, #notice, .link")]
        .filter((node) => node.checkVisibility())
        .map((node) => {
            const [a, b] = [light(channels(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
            return [node.className || node.id || node.localName, Math.round((a + .05) / (b + .05) * 100) / 100];
        });
"""


@pytest.mark.parametrize("size", [(390, 844), (380, 600), (1100, 760)], ids=["phone", "panel", "desktop"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_frame_fits_and_can_be_read(open_browser, shop, language, dark, size):
    browser = open_browser(language=language, dark=dark, size=size)
    browser.visit(f"http://{CHAT}/chat/?site_token={shop.site_token}")
    is_russian = language == "ru"
    assert browser.find("#empty").text.startswith("Задайте" if is_russian else "Ask")
    assert browser.driver.execute_script("return document.documentElement.lang") == language
    name = f"{language}-{'dark' if dark else 'light'}-{size[0]}"
    browser.picture(f"{name}-empty")
    dialog = converse(browser, shop, words("Доставляете в Норвегию?" if is_russian else "Do you ship to Norway?"))
    shop.operator.answer(dialog, words(
        "It takes about a week, and the parcel has a number that you can follow from the kiln to your door. "
        "Shall I put two mugs aside?\n\nhttps://shop.example/" + "a" * 60))
    thanks = words("Да, пожалуйста 🙂" if is_russian else "Yes, please. Thank you very much for being so quick")
    say(browser, thanks)
    shown(browser, thanks)
    browser.picture(name)
    width, inner = browser.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner == size[0]
    background = browser.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(26, 30, 34)" if dark else "rgb(255, 255, 255)")
    faint = [found for found in browser.run(CONTRASTS) if found[1] < 4.5]
    assert not faint
    assert browser.driver.execute_script("return document.activeElement.id") == "field", "the visitor goes on writing"
    assert browser.driver.execute_script(
        "const log = document.getElementById('log'); return log.scrollHeight - log.scrollTop - log.clientHeight") < 2


def test_everything_has_a_name_for_who_cannot_see_it(browser, shop):
    browser.visit(f"http://{CHAT}/chat/?site_token={shop.site_token}")
    assert browser.find("#field").accessible_name == "Your message"
    assert browser.find("#send").accessible_name == "Send"
    assert browser.find("#log").accessible_name == "Messages" and browser.find("#log").aria_role == "log"
    converse(browser, shop)
    assert browser.texts("#announcer")[0].startswith("Olga: We do.")

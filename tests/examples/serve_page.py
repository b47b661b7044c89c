#!/usr/bin/env python3
"""Tests the page of `translate serve` in headless Chromium: `serve_page.py PROGRAM SCRATCH`.

Leaves screenshots in the scratch folder: desktop, phone and dark. Skipped (exit code 77) without Chromium.
"""
import pathlib
import sys

from browser import Browser, chromium
from served import Server, check, sentence, skip_without_server, train, translation

program, scratch = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
skip_without_server(program)
if chromium() is None:
    print("skipped: Chromium was not found")
    sys.exit(77)
models = train(program, scratch)
SETTLED = "reading !== null && $('translation').getAttribute('aria-busy') === 'false'"


def weights(browser, side):
    """The numbers under the tokens."""
    return browser.value(f"[...document.querySelectorAll('#{side}-tokens small')].map(e => parseInt(e.textContent))")


def explanation(browser):
    return browser.value("$('explanation').textContent")


def retype(browser, text):
    browser.value("reading = null; $('source').focus(); $('source').select()")
    browser.type(text)


def choose(browser, control, value):
    browser.value(f"reading = null; $('{control}').value = '{value}';"
                  f"$('{control}').dispatchEvent(new Event('change'))")
    browser.wait(SETTLED)


def contrast_failures(browser):
    """Texts whose contrast with their ground is below 4.5."""
    return browser.value("""(() => {
      const rgb = text => text.match(/[\\d.]+/g).map(Number);
      const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
      const over = (top, under) => top.slice(0, 3).map((v, i) => (top[3] ?? 1) * v + (1 - (top[3] ?? 1)) * under[i]);
      const ground = e => e === null ? [255, 255, 255] :
                                       over(rgb(getComputedStyle(e).backgroundColor), ground(e.parentElement));
      const failures = [];
      for (const e of document.querySelectorAll('body *')) {
        if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.closest('[hidden], script, select') ||
            e.closest('select, :disabled')) continue;
        const [a, b] = [light(over(rgb(getComputedStyle(e).color), ground(e))), light(ground(e))].sort((x, y) => y - x);
        const contrast = (a + 0.05) / (b + 0.05);
        if (contrast < 4.5) failures.push([e.textContent.slice(0, 30), e.className, contrast]);
      }
      return failures; })()""")


def check_page(browser, server):
    browser.size(1200, 900)
    browser.open(server.url)
    browser.wait("$('model').options.length === 4")
    check(browser.value("document.activeElement.id") == "source", "the sentence has no focus")

    # A translation grows: texts are prefixes of the last.
    browser.value("grown = []; new MutationObserver(() => grown.push($('translation').textContent))"
                  ".observe($('translation'), {childList: true})")
    browser.type(sentence(1, 2))
    browser.wait(SETTLED)
    shown = browser.value("$('translation').textContent")
    check(shown == translation(1, 2), shown)
    grown = browser.value("grown")
    check(all(translation(1, 2).startswith(text) or "grows" in text for text in grown), grown)
    check(translation(1, 2) in browser.value("$('status').textContent"), "the status")
    check(browser.value("$('error').hidden"), "an error is shown")
    best = browser.value("[...document.querySelectorAll('.hypothesis .text')].map(e => e.textContent)")
    check(len(best) == 3 and best[0] == translation(1, 2), best)
    scores = browser.value("[...document.querySelectorAll('.hypothesis:first-child .scores')][0].textContent")
    check("词" in scores and "%" in scores, scores)

    # Hovering shows attention. The trained head links the third token of the sentence with the first two.
    for token, source in ((1, 2), (3, 0), (5, 1)):
        browser.hover(f"#target-tokens button:nth-child({token})")
        shown = weights(browser, "source")
        check(shown[source] == max(shown) > 50, (token, shown))
    check("attends to “other2”" in explanation(browser), explanation(browser))
    browser.hover("#source-tokens button:nth-child(1)")
    shown = weights(browser, "target")
    check(shown[2] > 50 and shown[3] > 50 and shown[0] < 50, shown)
    browser.hover("#map tbody tr:nth-child(3) td:nth-child(2)")
    check(weights(browser, "source")[0] > 50, "hovering over the table")
    browser.hover("h1")
    check("Point to a token" in explanation(browser), explanation(browser))

    # Layers and heads.
    check(browser.value("[$('layer').options.length, $('head').options.length]") == [3, 5], "layers and heads")
    table = "[...document.querySelectorAll('.cell')].map(e => e.style.getPropertyValue('--w')).join()"
    seen = set()
    for layer in (1, 2):
        for head in (0, 1, 4):
            choose(browser, "layer", layer)
            choose(browser, "head", head)
            seen.add(browser.value(table))
    check(len(seen) == 6, f"{len(seen)} different weights")

    # Influence.
    browser.click("[value=influence]")
    browser.wait(f"{SETTLED} && reading.influence")
    check(browser.value("$('layer').disabled"), "influence has no layers")
    check(weights(browser, "source")[0] > 5, "the influence of each word")
    browser.hover("#target-tokens button:nth-child(2)")
    check("loses of its probability: “word1”" in explanation(browser), explanation(browser))
    browser.click("[value=attention]")
    browser.wait(f"{SETTLED} && !reading.influence")
    choose(browser, "layer", 0)
    choose(browser, "head", 0)

    # Another translation of the list, and the keyboard.
    browser.value("reading = null")
    browser.click("li:nth-child(2) .hypothesis")
    browser.wait(SETTLED)
    check(browser.value("$('translation').textContent") == best[1], "the second translation")
    browser.value("document.querySelector('#target-tokens button').focus()")
    browser.key("ArrowRight", 39)
    browser.key("ArrowRight", 39)
    check(browser.value("[...$('target-tokens').children].indexOf(document.activeElement)") == 2, "arrow keys")
    check("attends to" in explanation(browser), explanation(browser))
    browser.key("Tab", 9)
    check(not browser.value("$('target-tokens').contains(document.activeElement)"), "Tab")

    # Another model, without attention.
    choose(browser, "model", "second")
    check(browser.value("answer.model.name === 'second' && $('attention-choice').hidden && reading.influence"),
          "a model without attention")
    choose(browser, "model", "first")
    browser.click("[value=attention]")

    # Errors are shown, and go away.
    retype(browser, "word " * 600)
    browser.wait("!$('error').hidden")
    message = browser.value("$('message').textContent")
    check("sentences[0]: has 600 tokens, expected at most" in message, message)
    check(browser.value("$('reading').hidden"), "results of an earlier sentence stay")
    browser.screenshot(scratch / "error.png")
    choose_damaged = "$('model').value = 'damaged'; $('model').dispatchEvent(new Event('change'))"
    retype(browser, sentence(2, 2))
    browser.wait(SETTLED)
    check(browser.value("$('error').hidden"), "the error stays")
    browser.value(choose_damaged)
    browser.wait("$('message').textContent.includes('model.safetensors')")
    choose(browser, "model", "third")
    check(browser.value("$('error').hidden && answer.model.name") == "third", "the third model")
    retype(browser, "")
    browser.value("$('source').value = ''; $('source').dispatchEvent(new Event('input'))")
    browser.wait("$('reading').hidden")


def check_looks(browser, server):
    """No sideways scrolling, no faint text, and nothing but this server is asked."""
    for name, width, height, dark, mobile in (("desktop", 1200, 900, False, False), ("phone", 390, 844, False, True),
                                              ("dark", 1200, 900, True, False), ("phone_dark", 390, 844, True, True)):
        browser.size(width, height, dark, mobile)
        browser.open(server.url)
        browser.wait("$('model').options.length === 4")
        check(contrast_failures(browser) == [], (name, contrast_failures(browser)))
        retype(browser, sentence(3, 4))
        browser.wait(SETTLED)
        browser.hover("#target-tokens button:nth-child(4)")
        browser.value("new Promise(done => setTimeout(done, 300))")
        wide = browser.value("document.documentElement.scrollWidth")
        check(wide <= width, f"{name}: the page is {wide} pixels wide")
        check(contrast_failures(browser) == [], (name, contrast_failures(browser)))
        browser.screenshot(scratch / f"{name}.png")
    unlabelled = browser.value("[...document.querySelectorAll('input, select, textarea, button')]"
                               ".filter(e => !e.labels?.length && !e.textContent.trim() && !e.ariaLabel).length")
    check(unlabelled == 0, f"{unlabelled} controls have no label")
    small = browser.value("[...document.querySelectorAll('select, button, [type=number]')]"
                          ".filter(e => e.offsetHeight && e.offsetHeight < 40).map(e => e.outerHTML)")
    check(small == [], small)
    for event in browser.events:
        if event["method"] == "Network.requestWillBeSent":
            url = event["params"]["request"]["url"]
            check(url.startswith((server.url, "data:")), url)
        if event["method"] == "Runtime.exceptionThrown":
            check(False, event["params"])
        if event["method"] == "Log.entryAdded" and "Content Security Policy" in event["params"]["entry"]["text"]:
            check(False, event["params"])


with Server(program, models) as server:
    browser = Browser(scratch)
    try:
        check_page(browser, server)
        check_looks(browser, server)
        check(server.stop() == (0, ""), "SIGTERM")
        retype(browser, sentence(1, 1))
        browser.wait("$('message').textContent.includes('does not answer')")
    finally:
        browser.close()
print("all checks passed")

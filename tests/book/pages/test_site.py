"""The finished site: nothing from other hosts, no dead link, swapped in one move."""

import os
import re

import nbformat
import numpy as np
import pytest
import toybook
from PIL import Image

from lowcap.book.pages import site
from lowcap.errors import BuildError


def page(folder, body, name="index.html"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<html><head></head><body>{body}</body></html>")
    return folder


@pytest.mark.parametrize(
    "body",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<script src="//cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example/a.css">',
        '<link rel="preload" href="http://fonts.example/a.woff2">',
        '<img src="https://img.example/a.png">',
        '<iframe src="https://x.example"></iframe>',
    ],
)
def test_anything_loaded_from_another_host_is_refused(tmp_path, body):
    with pytest.raises(BuildError, match=r"index\.html loads"):
        site.check_self_contained(page(tmp_path, body))


@pytest.mark.parametrize("body", ['<a href="nowhere.html">x</a>', '<img src="a%20b.png">', '<script src="x.js?v=1">'])
def test_a_link_to_a_file_that_is_not_there_is_refused(tmp_path, body):
    with pytest.raises(BuildError, match="not in the site"):
        site.check_self_contained(page(tmp_path, body))


def test_a_link_to_a_place_that_no_page_has_is_refused(tmp_path):
    page(tmp_path, '<p id="here">x</p>', "book/two.html")
    for place in ("here", "there"):
        page(tmp_path, f'<a href="two.html#{place}">x</a><a href="../index.html#{place}">x</a>', "book/one.html")
        page(tmp_path, f'<p id="{place}">x</p><a href="#%68ere">x</a>' if place == "here" else "<p id='there'>x</p>")
        if place == "here":
            site.check_self_contained(tmp_path)
    with pytest.raises(BuildError, match=r"one\.html points to two\.html#there, but there is no such place"):
        site.check_self_contained(tmp_path)


def test_readers_download_the_executed_chapter_and_not_the_one_made_into_a_page(tmp_path):
    staged = tmp_path / "_sources" / "book" / "01-replay.ipynb"
    staged.parent.mkdir(parents=True)
    staged.write_text("{}")
    site.offer(tmp_path, {"01-replay": toybook.notebook("'kept'")}, None)
    assert nbformat.read(staged, as_version=4).cells[2].source == "'kept'"


def test_links_to_the_web_and_within_the_site_pass(tmp_path):
    (tmp_path / "a b.png").touch()
    body = '<a href="https://x.example">x</a><a href="#top">t</a><img src="../a%20b.png"><a href="mailto:a@b.c">m</a>'
    site.check_self_contained(page(tmp_path, body, "book/one.html"))


def test_the_site_is_swapped_in_and_the_old_one_goes(tmp_path):
    for name in ("one", "two"):
        first = site.publish(page(tmp_path / "pages", name), tmp_path, name)
        assert name in first.read_text()
    assert [folder.name for folder in (tmp_path / "sites").iterdir()] == ["two"]
    assert (tmp_path / "html").is_symlink()


def test_a_plain_html_folder_gives_way(tmp_path):
    page(tmp_path / "html", "made by another tool")
    assert "new" in site.publish(page(tmp_path / "pages", "new"), tmp_path, "new").read_text()


def test_a_swap_that_fails_leaves_the_old_site(tmp_path, monkeypatch):
    first = site.publish(page(tmp_path / "pages", "good"), tmp_path, "one")
    replace = os.replace

    def full(source, target):
        if str(source).endswith(".html.new"):
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        site.publish(page(tmp_path / "pages", "bad"), tmp_path, "two")
    assert "good" in first.read_text()


def test_the_bibliography_is_a_list_of_items(tmp_path):
    site.tidy(page(tmp_path, '<div role="list"><div role="doc-biblioentry">Toy</div></div>'))
    assert '<div role="listitem">Toy</div>' in (tmp_path / "index.html").read_text()


def test_weight_that_no_page_needs_is_dropped(tmp_path):
    for name in ("_static/scripts/a.js.map", "_static/locales/de/x.js", "_static/vendor/f/webfonts/a.ttf"):
        page(tmp_path, "x", name)
    (tmp_path / "_static/scripts/fontawesome.js").write_text("x" * 1000)
    site.tidy(tmp_path)
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"fontawesome.js", ".nojekyll"}
    assert (tmp_path / "_static/scripts/fontawesome.js").stat().st_size == 0


def test_figures_become_lighter_and_look_the_same(tmp_path, rng):
    (tmp_path / "_images").mkdir()
    figure, veil = tmp_path / "_images" / "figure.png", tmp_path / "_images" / "veil.png"
    colours = np.append(rng.integers(100, 200, (300, 3)), np.full((300, 1), 255), 1).astype(np.uint8)
    pixels = colours[rng.integers(0, 300, (200, 200))]
    Image.fromarray(pixels).save(figure)
    Image.fromarray(pixels // 2).save(veil)
    before, picture = (figure.stat().st_size, veil.read_bytes()), tmp_path / "_images" / "figure.webp"
    page(tmp_path, '<a href="../_images/figure.png"><img src="../_images/figure.png"></a><img src="_images/veil.png">')
    site.tidy(tmp_path)
    assert picture.stat().st_size < 0.8 * before[0]
    assert not figure.exists()
    links = re.findall('(?:href|src)="([^"]*)"', (tmp_path / "index.html").read_text())
    assert links == ["../_images/figure.webp", "../_images/figure.webp", "_images/veil.png"]
    assert veil.read_bytes() == before[1]
    with Image.open(picture) as now:
        assert np.abs(np.asarray(now.convert("RGB")).astype(int) - pixels[..., :3]).max() <= 30

"""What stands in a page moves into files, so that a policy without exceptions can hold."""

import re

import pytest

from lowcap.book.pages import policy

HEAD = "<html><head><title>T</title></head><body>{}</body></html>"


def applied(folder, body, name="index.html"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD.format(body))
    policy.apply(folder)
    return path.read_text()


def moved(folder, kind):
    return [path.read_text() for path in sorted((folder / policy.PLACE).glob(f"*.{kind}"))]


@pytest.mark.parametrize("unsafe", ["unsafe", "http:", "https:", "*", "blob:"])
def test_the_policy_makes_no_exception(unsafe):
    assert unsafe not in policy.POLICY.replace("worker-src blob:", "")  # training's worker, which is no file
    assert policy.POLICY.startswith("default-src 'none'")


def test_the_policy_comes_before_all_else_in_the_head(tmp_path):
    page = applied(tmp_path, "<p>x</p>")
    assert page.index('<head>\n<meta http-equiv="Content-Security-Policy"') < page.index("<title>")


def test_scripts_move_in_their_order_and_those_side_by_side_become_one(tmp_path):
    body = "<script>let a = 1;</script>\n<script>let b = 2;</script><p>x</p><script src='x.js'></script>"
    page = applied(tmp_path, body, "book/one.html")
    assert moved(tmp_path, "js") == ["let a = 1;\nlet b = 2;\n"]
    assert re.findall(r"src=.(.*?)['\"]", page) == [f"../{policy.PLACE}/{path.name}" for path in
                                                    (tmp_path / policy.PLACE).iterdir()] + ["x.js"]  # fmt: skip


def test_data_in_a_page_stay(tmp_path):
    body = '<script type="application/json">{"style": "a"}</script>'
    assert body in applied(tmp_path, body)
    assert moved(tmp_path, "js") == []


def test_a_handler_becomes_a_listener(tmp_path):
    page = applied(tmp_path, '<button class="b" onclick="go(&quot;x&quot;)" title="a > b">x</button>')
    assert "onclick" not in page
    name = re.search(r'<button class="b" data-on-click="(\w+)" title="a > b">', page)[1]
    (code,) = moved(tmp_path, "js")
    assert f'[data-on-click="{name}"]' in code
    assert 'go("x")' in code
    assert page.index("<script") > page.index("<button")


def test_a_look_becomes_a_class_and_styles_a_sheet(tmp_path):
    body = (
        '<tr style="text-align: right;"><td class="n" style="color: red">1</td></tr><style scoped>td { top: 0 }</style>'
    )
    page = applied(tmp_path, body)
    assert "style=" not in page
    assert "<style" not in page
    (sheet,) = moved(tmp_path, "css")
    assert "td { top: 0 }" in sheet
    right, red = re.search(r'<tr class="(\S+)"><td class="n (\S+)">', page).groups()
    assert f".{right}.{right}.{right} {{ text-align: right; }}" in sheet
    assert f".{red}.{red}.{red} {{ color: red }}" in sheet


def test_styles_for_readers_without_javascript_stay_theirs(tmp_path):
    page = applied(tmp_path, "<noscript><style>.js { display: none }</style></noscript><p>x</p>")
    assert re.search(r'<noscript><link rel="stylesheet" href="[^"]+"></noscript>', page)
    assert moved(tmp_path, "css") == [".js { display: none }"]


def test_text_that_looks_like_an_attribute_stays(tmp_path):
    body = '<p>say onclick="x" and style="y"</p><code>&lt;b style="z"&gt;</code>'
    assert body in applied(tmp_path, body)

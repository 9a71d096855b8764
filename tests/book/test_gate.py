"""Each thing that must never be published, put into a chapter on purpose: the gate must name it."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_output
from toybook import figure_cell, notebook

from lowcap.book.gate import check_executed, check_source, warned
from lowcap.errors import BuildError

IMAGE = new_output("display_data", data={"image/png": "aGk=", "text/plain": "<Figure>"})


def executed(*cells):
    made = notebook(*cells)
    for count, cell in enumerate((c for c in made.cells if c.cell_type == "code"), start=1):
        cell.execution_count = count
    made.metadata["lowcap"] = {"modules": []}
    return made


def with_output(*outputs, cell=None):
    cell = cell or new_code_cell("1")
    cell.outputs = list(outputs)
    return executed(cell)


def stream(name, text):
    return with_output(new_output("stream", name=name, text=text))


def refusal(made, **options):
    with pytest.raises(BuildError) as caught:
        check_executed("01-toy", made, **options)
    return str(caught.value)


def test_a_clean_chapter_passes():
    check_executed("01-toy", with_output(IMAGE, cell=figure_cell()))
    check_executed("01-toy", stream("stdout", "fine"))


def test_an_unexecuted_chapter_is_refused():
    assert "was not executed" in refusal(notebook("1", "2"))


def test_a_chapter_without_code_is_refused():
    assert "no code cell" in refusal(notebook())


@pytest.mark.parametrize("counts", [(1, None), (2, 1), (1, 3), (2, 3)])
def test_cells_run_out_of_order_are_refused(counts):
    made = executed("1", "2")
    made.cells[1].execution_count, made.cells[2].execution_count = counts
    assert "not one run from top to bottom" in refusal(made)


def test_a_module_that_was_loaded_but_not_hashed_is_refused_with_the_remedy():
    made = executed("from lowcap import tasks\nfrom lowcap.chapters.replay.experiments import run")
    made.metadata["lowcap"] = {"modules": ["lowcap", "lowcap.tasks", "lowcap.chapters.replay.experiments"]}
    check_executed("01-toy", made)
    made.metadata["lowcap"]["modules"] += ["lowcap.cli", "lowcap.sweep"]
    assert "has loaded lowcap.cli, lowcap.sweep, which is not hashed with it: import that by" in refusal(made)


def test_a_chapter_must_say_which_modules_it_has_loaded():
    made = executed("1")
    del made.metadata["lowcap"]
    assert "does not say which modules it has loaded" in refusal(made)


def test_an_error_output_is_refused_with_its_message():
    error = new_output("error", ename="ValueError", evalue="no such pair", traceback=[])
    assert "code cell 1: raised ValueError: no such pair" in refusal(with_output(error))


def test_stderr_is_refused_with_its_text():
    assert "wrote to stderr: a warning of torch" in refusal(stream("stderr", "a warning\n of torch"))


def test_a_widget_is_refused():
    widget = new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})
    assert "widget" in refusal(with_output(widget))


@pytest.mark.parametrize("alt", ["", "plot.png", "a line"])
def test_a_figure_without_real_alternative_text_is_refused(alt):
    assert "mystnb.image.alt" in refusal(with_output(IMAGE, cell=figure_cell(image={"alt": alt})))


@pytest.mark.parametrize("key", ["caption", "name"])
def test_a_figure_without_caption_or_name_is_refused(key):
    cell = figure_cell()
    del cell.metadata.mystnb.figure[key]
    assert f"mystnb.figure.{key}" in refusal(with_output(IMAGE, cell=cell))


def test_two_images_in_one_cell_are_refused():
    assert "draws 2 images" in refusal(with_output(IMAGE, IMAGE, cell=figure_cell()))


def test_a_value_beside_the_image_is_refused():
    value = new_output("execute_result", data={"text/plain": "[]"}, execution_count=1)
    assert "shows a value beside its image" in refusal(with_output(value, IMAGE, cell=figure_cell()))


def test_a_figure_name_used_twice_is_refused():
    assert "figure name fig-line is used twice" in refusal(executed(figure_cell(), figure_cell()))


@pytest.mark.parametrize(("entry", "key"), [("kernelspec", "kernelspec.name"), ("language_info", "language_info.name")])
def test_a_missing_kernelspec_or_language_is_refused(entry, key):
    made = executed("1")
    del made.metadata[entry]
    assert key in refusal(made)


def test_a_misspelt_tag_is_refused():
    assert "unknown tag hide-inptu" in refusal(executed(new_code_cell("1", metadata={"tags": ["hide-inptu"]})))


def test_an_injected_cell_passes_only_where_it_is_allowed():
    made = executed(new_code_cell("x = 1", metadata={"tags": ["injected-parameters", "hide-input"]}))
    check_executed("01-toy", made, injected=True)
    assert "was injected" in refusal(made)


def test_what_cells_wrote_to_stderr_is_told_and_taken_out():
    cell = new_code_cell("1", outputs=[new_output("stream", name="stderr", text="Careful:\n  no data\n"),
                                       new_output("stream", name="stdout", text="kept")])  # fmt: skip
    made = executed(cell)
    number = sum(c.cell_type == "code" for c in made.cells)
    assert warned(made) == [f"code cell {number} warned: Careful: no data"]
    assert [output.text for output in cell.outputs] == ["kept"]
    assert warned(made) == []


def test_papermills_error_banner_is_refused():
    banner = new_code_cell("1", metadata={"tags": ["papermill-error-cell-tag"]})
    assert "error banner" in refusal(executed(banner), injected=True)


def test_every_reason_is_told_at_once():
    made = stream("stderr", "oops")
    del made.metadata["kernelspec"]
    assert "kernelspec" in refusal(made)
    assert "oops" in refusal(made)


def test_a_source_with_outputs_is_refused():
    with pytest.raises(BuildError, match=r"01-toy\.ipynb .* outputs .* code cell 1"):
        check_source(Path("01-toy.ipynb"), stream("stdout", "left over"))


def test_a_stripped_source_passes():
    check_source(Path("01-toy.ipynb"), nbformat.from_dict(notebook("1")))

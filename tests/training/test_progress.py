"""Progress bars."""

from swarmctl.training.progress import progress_bar


def test_a_bar_in_a_file_is_written_seldom_and_a_mute_one_never(capsys) -> None:
    with progress_bar(True, total=5000, unit="update") as bar:
        for _ in range(5000):
            bar.set_postfix_str("return 1", refresh=False)
            bar.update()
    shown = capsys.readouterr().err
    assert "5000/5000" in shown
    assert shown.count("\r") <= 3
    with progress_bar(False, total=3) as bar:
        bar.update(3)
    assert not capsys.readouterr().err

"""Against videos whose frames say when they are shown."""

import random
import struct
import sys
import warnings
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmgraph.errors import ConfigError, DataError, MissingPackageError
from mmgraph.media.video import decode_video, shown_at

av = pytest.importorskip("av")

CONTAINERS = {
    "mp4": "libx264",
    "mov": "mpeg4",
    "matroska": "libx264",
    "webm": "libvpx-vp9",
    "avi": "mpeg4",
    "flv": "flv",
    "asf": "mpeg4",
    "mpegts": "mpeg2video",
}


def video(container="mp4", *, frames=50, rate_hz=25, size=(48, 32), rotation=None):
    """Frame ``n`` is grey of level ``4 n``, with a white corner at the upper left."""
    file = BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(CONTAINERS[container], rate=rate_hz)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            levels = np.full((size[1], size[0], 3), 4 * number, dtype=np.uint8)
            levels[: size[1] // 3, : size[0] // 3] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(levels, format="rgb24")):
                output.mux(packet)
        for packet in stream.encode():
            output.mux(packet)
    return file.getvalue()


def animation(kind, levels, duration_ms):
    frames = [Image.new("RGB", (16, 12), (level, level, level)) for level in levels]
    file = BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=duration_ms, loop=0, **options)
    return file.getvalue()


def grey(frames):
    assert all(frame.mode == "RGB" for frame in frames)
    return [frame.getpixel((frame.width - 4, frame.height - 4))[0] for frame in frames]


@pytest.mark.parametrize("container", CONTAINERS)
def test_frames_are_those_shown_at_their_times(container):
    found = decode_video(video(container), rate_hz=5)
    assert len(found) == 10  # two seconds
    assert {frame.size for frame in found} == {(48, 32)}
    assert np.abs(np.array(grey(found)) - 20 * np.arange(10)).max() <= 12


def test_a_path_is_read(tmp_path):
    (tmp_path / "video").write_bytes(video())
    assert grey(decode_video(tmp_path / "video")) == grey(decode_video(video()))
    with pytest.raises(DataError, match="must be there"):
        decode_video(tmp_path / "other")


def test_no_more_frames_than_asked_for():
    assert len(decode_video(video(), rate_hz=25, max_frames=3)) == 3
    assert len(decode_video(video(frames=1), rate_hz=0.01)) == 1
    assert len(decode_video(video(frames=4), rate_hz=50)) == 8


@pytest.mark.parametrize(
    ("rotation", "corner"), [(0, (2, 2)), (90, (2, -3)), (180, (-3, -3)), (270, (-3, 2)), (-90, (-3, 2))]
)
def test_frames_are_turned_upright(rotation, corner):
    frame = decode_video(video(rotation=rotation))[0]
    assert frame.size == ((32, 48) if rotation % 180 else (48, 32))
    levels = np.asarray(frame)[..., 0]  # [height, width]
    corners = {(x, y): int(levels[y, x]) for x in (2, -3) for y in (2, -3)}
    assert max(corners, key=corners.get) == corner
    assert sorted(corners.values())[2] < 30


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations_need_no_further_package(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    data = animation(kind, [0, 80, 160, 240], [500, 500, 1500, 500])
    assert grey(decode_video(data)) == [0, 160, 160]
    assert grey(decode_video(data, rate_hz=2)) == [0, 80, 160, 160, 160, 240]
    assert grey(decode_video(data, rate_hz=2, max_frames=2)) == [0, 80]
    with pytest.raises(MissingPackageError, match=r"mmgraph\[video\]"):
        decode_video(video_bytes_without_av())


def video_bytes_without_av():
    return b"\x1a\x45\xdf\xa3" + bytes(40)


def test_a_still_picture_is_a_video_of_one_frame():
    assert grey(decode_video(animation("GIF", [80], 0), rate_hz=1)) == [80]


def test_animations_without_delays_are_shown_as_browsers_do():
    assert grey(decode_video(animation("GIF", [0, 100, 200], 0), rate_hz=10)) == [0, 100, 200]


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"", "must be one of asf, .* got 0 bytes"),
        (b"RIFF\0\0\0\0WAVEfmt ", "got a wav file"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "got a text: b'#EXTM3U"),
        (b"ffconcat version 1.0\nfile secret.mp4\n", "got a text: b'ffconcat"),
        ("owl.mp4", "bytes or a Path, got str"),
        (bytes.fromhex("1a45dfa3") + bytes(40), "whole and undamaged, got a matroska file"),
        (b"GIF89a\0\0", "whole and undamaged, got a gif file"),
        (b"\0\0\0\x18ftypisom" + bytes(12), "whole and undamaged, got an mp4 file"),
        (b"\0\0\x01\x18ftypisom" + bytes(12), "must be whole, got an mp4 file that ends before its header says"),
    ],
)
def test_what_is_no_video_is_refused_by_what_it_is(payload, value):
    with pytest.raises(DataError, match=value):
        decode_video(payload)


def test_sound_alone_is_no_video():
    file = BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        sound.rate = 8000
        for packet in [*stream.encode(sound), *stream.encode()]:
            output.mux(packet)
    with pytest.raises(DataError, match="must have pictures, got a matroska file without"):
        decode_video(file.getvalue())


@pytest.mark.parametrize("payload", [video(), animation("GIF", [0, 9], 100)])
def test_large_frames_are_refused_by_the_header(payload):
    with pytest.raises(DataError, match="1 to 100 pixels, got"):
        decode_video(payload, max_pixels=100)


def test_the_header_is_checked_before_a_frame_is_decoded():
    head = video("matroska")[:600]
    with pytest.raises(DataError, match="at least 1 frame, got none"):
        decode_video(head)
    with pytest.raises(DataError, match="1 to 100 pixels, got 48 x 32"):
        decode_video(head, max_pixels=100)


def test_frames_that_grow_on_the_way_are_refused():
    data = video("mpegts", frames=20) + video("mpegts", frames=20, size=(96, 64))
    assert decode_video(data, rate_hz=25)
    with pytest.raises(DataError, match="got 96 x 64"):
        decode_video(data, rate_hz=25, max_pixels=48 * 32)


def test_frames_that_the_decoder_had_to_make_up_are_refused():
    rng, messages = random.Random(0), []
    source = video("mov", frames=20)
    for _ in range(50):
        data = bytearray(source)
        place = rng.randrange(len(data))
        data[place : place + 8] = rng.randbytes(8)
        try:
            decode_video(bytes(data), rate_hz=25)
        except DataError as error:
            messages.append(str(error))
    assert sum("must be undamaged, got a corrupt frame at 0." in message for message in messages) > 5


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_a_video_that_is_cut_short_is_refused(share, tmp_path):
    indexed_last = video()
    with av.open(str(tmp_path / "video.mp4"), "w", options={"movflags": "faststart"}) as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for packet in [*stream.encode(av.VideoFrame(48, 32, "yuv420p")), *stream.encode()]:
            output.mux(packet)
    indexed_first = (tmp_path / "video.mp4").read_bytes()
    assert indexed_first.index(b"moov") < indexed_first.index(b"mdat")
    for data in (indexed_first, indexed_last):
        assert decode_video(data)
        with pytest.raises(DataError, match="must be whole, got an mp4 file that ends before"):
            decode_video(data[: int(share * len(data))])


def test_boxes_with_long_sizes_and_boxes_to_the_end_are_whole():
    data = video()
    long = struct.pack(">I4sQ", 1, b"free", 24) + bytes(8)
    to_the_end = struct.pack(">I4s", 0, b"free") + bytes(8)
    assert grey(decode_video(data + long + to_the_end)) == grey(decode_video(data))
    with pytest.raises(DataError, match="must be whole"):
        decode_video(data + struct.pack(">I4sQ", 1, b"free", 1 << 40))


@pytest.mark.parametrize("options", [{"rate_hz": 0}, {"rate_hz": float("inf")}, {"rate_hz": -1}, {"max_frames": 0}])
def test_bad_options_are_refused_by_value(options):
    with pytest.raises(ConfigError, match=f"got .*{next(iter(options.values()))}"):
        decode_video(video(), **options)


def test_endless_videos_are_refused(monkeypatch):
    monkeypatch.setattr("mmgraph.media.video.MAX_DECODED", 5)
    assert len(decode_video(video(), rate_hz=25, max_frames=4)) == 4
    with pytest.raises(DataError, match="within 5 decoded ones; ask for a higher rate_hz"):
        decode_video(video(), rate_hz=1)
    with pytest.raises(DataError, match="at least 1 frame, got none"):
        shown_at([(0.0, None)], 1.0, 3, str)


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=20), st.sampled_from([0.5, 1.0, 4.0, 30.0]), st.integers(1, 40)
)
def test_what_is_shown_is_what_a_slow_clock_sees(delays_cs, rate_hz, count):
    starts = np.cumsum([0, *delays_cs]) / 100
    frames = [*zip(starts[:-1].tolist(), range(len(delays_cs)), strict=True), (float(starts[-1]), None)]
    expected = []
    for tick in range(count):
        time_s = tick / rate_hz
        if time_s < starts[-1] - 1e-6:
            expected.append(max(number for number in range(len(delays_cs)) if starts[number] <= time_s + 1e-6))
    assert shown_at(frames, rate_hz, count, int) == expected


def test_mutated_videos_are_decoded_or_refused():
    sources = [video(name, frames=8) for name in CONTAINERS] + [animation("GIF", [0, 200], 100)]
    rng = random.Random(0)
    decoded = 0
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for number in range(900):
            data = bytearray(sources[number % len(sources)])
            for _ in range(rng.randint(1, 6)):
                place = rng.randrange(len(data))
                data[place : place + rng.choice((1, 4))] = rng.randbytes(4)
            data = data[: rng.choice((len(data), rng.randint(1, len(data))))]
            try:
                assert decode_video(bytes(data), max_pixels=1 << 16)
                decoded += 1
            except DataError:
                continue
    assert 50 < decoded < 850
    assert heard == []

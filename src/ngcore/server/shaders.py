"""Shaders of image layers, written from an appearance; and the controls that a user then has.

https://github.com/google/neuroglancer/blob/master/src/sliceview/image_layer_rendering.md
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ngcore.precomputed.info import VolumeInfo
    from ngcore.previewing.appearance import Appearance
    from ngcore.previewing.samples import Number
    from ngcore.volume.segment_colours import Colour

# Bits, as comparisons with NaN are not to be relied on in every driver.
_IS_NAN = "(floatBitsToUint(value) & 0x7fffffffu) > 0x7f800000u"


def shader(info: VolumeInfo, appearance: Appearance, *, has_time: bool = False) -> str:
    """Return the shader of an image.

    Parameters
    ----------
    info : VolumeInfo
    appearance : Appearance
    has_time : bool
        Channels are points of time, so the layer itself has one.
    """
    if appearance.mode in ("colour", "direction"):
        return _as_they_are(info, appearance)
    return _scaled(info, appearance, None if has_time else _channel(info, appearance))


def controls(info: VolumeInfo, appearance: Appearance, *, has_time: bool = False) -> list[str]:
    """Return the names of the controls of the shader, the most useful first."""
    if appearance.mode in ("colour", "direction"):
        return []
    names = ["threshold", "top"] if appearance.mode == "diverging" else ["normalized"]
    if not has_time and _channel(info, appearance) == "channel":
        names.insert(0, "channel")
    return names


def _channel(info: VolumeInfo, appearance: Appearance) -> str | None:
    """Return the channel that is drawn: a number, the slider's name, None of a single one."""
    if info.num_channels == 1:
        return None
    return "channel" if appearance.channel is None else str(appearance.channel)


def _as_they_are(info: VolumeInfo, appearance: Appearance) -> str:
    get = "toNormalized(getDataValue({}))" if info.data_type == "uint8" else "getDataValue({})"
    if appearance.mode == "direction":
        get = f"abs({get})"
    values = ", ".join(get.format(channel) for channel in range(info.num_channels))
    call = f"emitRGBA(vec4({values}))" if info.num_channels == 4 else f"emitRGB(vec3({values}))"
    return f"void main() {{\n  {call};\n}}\n"


def _scaled(info: VolumeInfo, appearance: Appearance, channel: str | None) -> str:
    lines = []
    if channel == "channel":
        lines.append(
            f"#uicontrol int channel slider(min=0, max={info.num_channels - 1}, default=0)"
        )
    value = f"getDataValue({channel or 0})"
    number = f"float(toRaw({value}))" if info.data_type != "float32" else value
    if appearance.mode == "diverging":
        lines += _diverging(appearance, number)
    else:
        lines += _ranged(info, appearance, channel, number)
    return "\n".join(lines) + "\n"


def _diverging(appearance: Appearance, number: str) -> list[str]:
    shown = appearance.shown
    assert shown is not None
    largest = float(shown.window_high)
    return [
        f"#uicontrol float threshold {_slider(largest, shown.low)}",
        f"#uicontrol float top {_slider(largest, shown.high)}",
        *_map_function("aboveZero", appearance.colour_map.points),
        *_map_function("belowZero", appearance.colour_map.below),
        "void main() {",
        f"  float value = {number};",
        f"  if ({_IS_NAN} || value == 0.0 || abs(value) < threshold) {{",
        "    emitTransparent();",
        "    return;",
        "  }",
        "  float place = clamp((abs(value) - threshold) / max(top - threshold, 1e-30), 0.0, 1.0);",
        "  emitRGB(value > 0.0 ? aboveZero(place) : belowZero(place));",
        "}",
    ]


def _slider(largest: float, default: Number) -> str:
    return f"slider(min=0, max={json.dumps(float(largest))}, default={json.dumps(float(default))})"


def _ranged(
    info: VolumeInfo, appearance: Appearance, channel: str | None, number: str
) -> list[str]:
    is_chosen = channel == "channel"
    options = _range_options(info, appearance, "0" if is_chosen else channel)
    is_plain = appearance.mode == "grey" and not appearance.hides_below
    if not is_plain:
        options.append("clamp=false")
    arguments = f"({', '.join(options)})" if options else ""
    lines = [f"#uicontrol invlerp normalized{arguments}"]
    place = f"normalized(getDataValue({channel}))" if is_chosen else "normalized()"
    if is_plain:
        return [*lines, "void main() {", f"  emitGrayscale({place});", "}"]
    hidden = ["!(place >= 0.0)"] if appearance.hides_below else []
    if appearance.hides_zero:
        hidden += [_IS_NAN, "value == 0.0"]
    return [
        *lines,
        *_map_function("colourOf", appearance.colour_map.points),
        "void main() {",
        f"  float place = {place};",
        *([f"  float value = {number};"] if appearance.hides_zero else []),
        f"  if ({' || '.join(hidden)}) {{",
        "    emitTransparent();",
        "    return;",
        "  }",
        "  emitRGB(colourOf(min(place, 1.0)));",
        "}",
    ]


def _range_options(info: VolumeInfo, appearance: Appearance, channel: str | None) -> list[str]:
    options = [] if channel is None else [f"channel={channel}"]
    if (shown := appearance.shown) is not None:
        text = _as_text if info.data_type == "uint64" else json.dumps
        low, high = _plain(info, shown.low), _plain(info, shown.high)
        window_low, window_high = _plain(info, shown.window_low), _plain(info, shown.window_high)
        options.append(f"range=[{text(low)}, {text(high)}]")
        options.append(f"window=[{text(window_low)}, {text(window_high)}]")
    return options


def _plain(info: VolumeInfo, value: Number) -> Any:
    """Return a value as the client takes it: whole where voxels are."""
    if info.data_type != "float32" and isinstance(value, float):
        return round(value)
    return value


def _map_function(name: str, points: tuple[Colour, ...]) -> list[str]:
    """Return a function of GLSL from 0 to 1 to a colour, linear between points."""
    colours = ", ".join(
        "vec3({:.4f}, {:.4f}, {:.4f})".format(*(channel / 255 for channel in point))
        for point in points
    )
    count = len(points)
    return [
        f"vec3 {name}(float place) {{",
        f"  vec3 points[{count}] = vec3[{count}]({colours});",
        f"  float at = clamp(place, 0.0, 1.0) * {count - 1}.0;",
        f"  int left = min(int(at), {count - 2});",
        "  return mix(points[left], points[left + 1], at - float(left));",
        "}",
    ]


def _as_text(value: Number) -> str:
    """Return a 64-bit value as the client wants it: JSON numbers would lose its last bits."""
    return json.dumps(str(math.floor(value)))

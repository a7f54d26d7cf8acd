"""The path of the eye over a picture: as a PNG, and glance by glance as an animation."""

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw

EDGE = 280  # pixels of the longer edge of an animation
CAPTION = 24  # pixels of the line below it
MILLISECONDS = 600  # for each glance
INK = "orange"


def path(picture, glances, file):
    """The picture with the square of every glance, numbered, and the way between them."""
    figure = Figure(figsize=(4, 4.3), layout="constrained")
    axes = figure.subplots()
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
    axes.plot(*glances.centres.T, color=INK, marker="o", markersize=3, linewidth=1)
    for number, ((x, y), edge) in enumerate(zip(glances.centres, glances.edges, strict=True), 1):
        corner = (x - edge / 2, y - edge / 2)
        axes.add_patch(Rectangle(corner, edge, edge, fill=False, edgecolor=INK, linewidth=0.8))
        axes.annotate(str(number), (x, y), color=INK, fontsize=8, xytext=(3, 3), textcoords="offset points")
    height, width = picture.shape
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
    axes.set_title(f"{glances.label} ({glances.probabilities[-1]:.2f})")
    figure.savefig(file, format="png", dpi=110)


def film(picture, glances, file):
    """A GIF with a frame for each glance: its square, and how probable the label is after it."""
    scale = EDGE / max(picture.shape)
    size = [round(scale * edge) for edge in picture.shape[::-1]]
    large = Image.fromarray(picture).convert("RGB").resize(size, Image.Resampling.NEAREST)
    frames = []
    told = zip(glances.centres, glances.edges, glances.probabilities, strict=True)
    for number, ((x, y), edge, probability) in enumerate(told, 1):
        frame = Image.new("RGB", (size[0], size[1] + CAPTION), "white")
        frame.paste(large)
        draw = ImageDraw.Draw(frame)
        corners = [scale * (at + 0.5 + way * edge / 2) for way in (-1, 1) for at in (x, y)]
        draw.rectangle(corners, outline=INK, width=2)
        draw.rectangle([0, size[1], size[0], size[1] + CAPTION], fill="white")
        text = f"glance {number}: {glances.label} {probability:.2f}"
        draw.text((4, size[1] + 4), text, fill="black", font_size=14)
        frames.append(frame)
    first, *others = frames
    first.save(file, format="GIF", save_all=True, append_images=others, duration=MILLISECONDS, loop=0)

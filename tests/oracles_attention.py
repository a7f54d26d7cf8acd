"""Attention over a position in plain NumPy and loops, written from the papers and not from the package.

Images are arrays (height, width), texts (characters, features), one example at a time; all float64.
"""

import math

import numpy as np


def soft_window(state, kernel, bias, position, text):
    """One step of the window of Graves 2013, "Generating sequences with recurrent neural networks", §5.1.

    state: of the recurrent net, (units,). kernel, bias: (units, 3 K) and (3 K,), for log α, log β and log Δκ.
    position: κ before the step, (K,). text: (characters, features); the first character has the number 1.

    Returns the window w, (features,), its weights φ, (characters,), and κ.
    """
    numbers = state @ kernel + bias
    components = len(position)
    alpha = [math.exp(value) for value in numbers[:components]]
    beta = [math.exp(value) for value in numbers[components : 2 * components]]
    kappa = [
        before + math.exp(value) for before, value in zip(position, numbers[2 * components :], strict=True)
    ]
    weights = []
    for place in range(1, len(text) + 1):
        weights.append(
            sum(a * math.exp(-b * (k - place) ** 2) for a, b, k in zip(alpha, beta, kappa, strict=True))
        )
    window = np.zeros(text.shape[1])
    for weight, character in zip(weights, text, strict=True):
        window += weight * character
    return window, np.array(weights), np.array(kappa)


def grid_filters(numbers, patch, height, width):
    """The filters of DRAW (Gregor et al. 2015, equations 22 to 26), whose pixels are counted from 1.

    numbers: what the net gave: g̃x, g̃y, log σ², log δ̃, log γ. patch: N, the patch has N × N numbers.

    Returns Fx, (N, width), Fy, (N, height), and γ.
    """
    x, y, log_variance, log_stride, log_gamma = numbers
    centre_x = (width + 1) / 2 * (x + 1)
    centre_y = (height + 1) / 2 * (y + 1)
    stride = (max(width, height) - 1) / (patch - 1) * math.exp(log_stride)
    variance = math.exp(log_variance)

    def filters(centre, pixels):
        rows = []
        for number in range(1, patch + 1):
            mean = centre + (number - patch / 2 - 0.5) * stride
            row = [math.exp(-((pixel - mean) ** 2) / (2 * variance)) for pixel in range(1, pixels + 1)]
            rows.append([value / sum(row) for value in row])
        return np.array(rows)

    return filters(centre_x, width), filters(centre_y, height), math.exp(log_gamma)


def grid_read(image, numbers, patch):
    """γ Fy image Fxᵀ (equation 27): the patch, (N, N)."""
    across, down, gamma = grid_filters(numbers, patch, *image.shape)
    return gamma * down @ image @ across.T


def grid_write(drawn, numbers, height, width):
    """Fyᵀ drawn Fx / γ (equation 29): what is added to the canvas, (height, width)."""
    across, down, gamma = grid_filters(numbers, len(drawn), height, width)
    return down.T @ drawn @ across / gamma


def draw_steps(image, noise, start, weights, encode, decode, patches):
    """All steps of DRAW (Gregor et al. 2015, equations 3 to 8), for an image (height, width) of one channel.

    noise: standard normal, (steps, size of z). start: h_enc, c_enc, h_dec, c_dec and the canvas (pixels,).
    encode, decode: a step of a recurrent net, from x and its states h and c to these.
    weights: "latent", "write" and, with attention, "read": a matrix and a bias each.
    patches: N of reading and N of writing, or None without attention.

    Returns for every step the canvas, (steps, pixels), and the divergence of Q from the prior, (steps,).
    """
    height, width = image.shape
    h_enc, c_enc, h_dec, c_dec, canvas = start
    canvases, divergences = [], []
    for epsilon in noise:
        error = image - 1 / (1 + np.exp(-canvas.reshape(height, width)))
        if patches is None:
            # pixel by pixel: the image and the error
            read = np.stack([image, error], axis=-1).ravel()
        else:
            numbers = h_dec @ weights["read"][0] + weights["read"][1]
            read = np.stack([grid_read(x, numbers, patches[0]) for x in (image, error)], axis=-1).ravel()
        h_enc, c_enc = encode(np.concatenate([read, h_dec]), (h_enc, c_enc))
        told = h_enc @ weights["latent"][0] + weights["latent"][1]
        mean, deviation = told[: len(epsilon)], np.exp(told[len(epsilon) :])
        h_dec, c_dec = decode(mean + deviation * epsilon, (h_dec, c_dec))
        numbers = h_dec @ weights["write"][0] + weights["write"][1]
        if patches is None:
            canvas = canvas + numbers
        else:
            drawn = numbers[5:].reshape(patches[1], patches[1])
            canvas = canvas + grid_write(drawn, numbers[:5], height, width).ravel()
        canvases.append(canvas)
        divergences.append(
            sum(m**2 + s**2 - math.log(s**2) for m, s in zip(mean, deviation, strict=True)) / 2
        )
        divergences[-1] -= len(epsilon) / 2
    return np.array(canvases), np.array(divergences)


def retina(image, location, patch, scales):
    """The glimpse of Mnih et al. 2014, "Recurrent models of visual attention".

    location: (x, y) from −1, the middle of the first pixel, to 1, that of the last one. Grids of patch,
    2 patch, 4 patch … points a side stand around it, a pixel apart; between pixels and beyond the edges,
    where all is zero, the value is interpolated bilinearly. Each grid is averaged down to patch × patch.

    Returns (scales, patch, patch).
    """
    height, width = image.shape
    centre_x, centre_y = (location[0] + 1) / 2 * (width - 1), (location[1] + 1) / 2 * (height - 1)

    def pixel(row, column):
        return image[row, column] if 0 <= row < height and 0 <= column < width else 0.0

    def between(y, x):
        row, column = math.floor(y), math.floor(x)
        down, right = y - row, x - column
        upper = (1 - right) * pixel(row, column) + right * pixel(row, column + 1)
        lower = (1 - right) * pixel(row + 1, column) + right * pixel(row + 1, column + 1)
        return (1 - down) * upper + down * lower

    patches = []
    for scale in range(scales):
        step = 2**scale
        first = -(patch * step - 1) / 2
        seen = np.array(
            [
                [between(centre_y + first + row, centre_x + first + column) for column in range(patch * step)]
                for row in range(patch * step)
            ]
        )
        patches.append(
            [
                [
                    seen[step * row : step * (row + 1), step * column : step * (column + 1)].mean()
                    for column in range(patch)
                ]
                for row in range(patch)
            ]
        )
    return np.array(patches)


def mixture_log_density(numbers, point, components, pen=None):
    """log p of a point under a mixture of bivariate Gaussians, and of the pen (Graves 2013, eq. 23 to 26).

    numbers: π̂ (K), μ (2 K: x and y of each component in turn), log σ (2 K, likewise), ρ̂ (K), and with a pen
    ê, whose sigmoid is the probability of pen = 1.
    """
    values = iter(numbers)
    weight_logits = [next(values) for _ in range(components)]
    means = [(next(values), next(values)) for _ in range(components)]
    deviations = [(math.exp(next(values)), math.exp(next(values))) for _ in range(components)]
    correlations = [math.tanh(next(values)) for _ in range(components)]
    total = sum(math.exp(logit) for logit in weight_logits)
    density = 0.0
    for logit, mean, deviation, rho in zip(weight_logits, means, deviations, correlations, strict=True):
        x = (point[0] - mean[0]) / deviation[0]
        y = (point[1] - mean[1]) / deviation[1]
        z = x * x + y * y - 2 * rho * x * y
        normaliser = 2 * math.pi * deviation[0] * deviation[1] * math.sqrt(1 - rho * rho)
        density += math.exp(logit) / total * math.exp(-z / (2 * (1 - rho * rho))) / normaliser
    result = math.log(density)
    if pen is not None:
        probability = 1 / (1 + math.exp(-next(values)))
        result += math.log(probability if pen else 1 - probability)
    return result

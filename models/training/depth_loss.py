# requires: see common.py
"""From predicted disparity to heights over the table as the product does it, differentiably, and the training losses.

Product: robust line d = a q + b through table pixels, its slope weighed against a prior near b = 0 (the only information straight
down, where q hardly varies), then H/h = 1 - a q / (d - b). Constants here are those of the geometry module's table fit.
"""

import torch
import torch.nn.functional as F

from depth_data import Batch

INDEPENDENT, SHIFT_PRIOR, RAMP = 20.0, 0.2, 0.002
LEAN = 0.02              # rad: usual uncertainty of gravity
LATTICE = 4              # every so many pixels of the table count
UNIT_MM = 10.0           # an error of so much height costs 1


def lattice(a):
    return a[:, LATTICE // 2::LATTICE, LATTICE // 2::LATTICE].flatten(1)


def bare_table(batch: Batch):
    """Table pixels that touch nothing else, (B,H,W)."""
    other = (~batch.table).float()[:, None]
    return F.max_pool2d(other, 7, 1, 3)[:, 0] < 0.5


def tukey(e, w):
    """Weights of the next round and sd: e (B,P) residuals, w (B,P) 1 on table."""
    sd = 1.4826 * torch.where(w > 0, e.abs(), torch.nan).nanmedian(1).values.nan_to_num(1.0)
    sd = sd.clamp(min=1e-4)
    k = (e / (4.685 * sd[:, None])).clamp(-1, 1)
    return w * (1 - k * k).square(), sd


def table_line(d, q, table, rounds=6):
    """(a, b) (B,) of d = a q + b over table (B,H,W) pixels; gradients flow through the last weighted fit."""
    y, x, keep = lattice(d), lattice(q), lattice(table).float()
    n = keep.sum(1)
    weight = keep
    for i in range(rounds):
        last = i == rounds - 1
        with torch.set_grad_enabled(last and torch.is_grad_enabled()):
            w = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)
            yl, xl = (w * y).sum(1), (w * x).sum(1)
            dx = x - xl[:, None]
            var = (w * dx * dx).sum(1)
            a = (w * dx * (y - yl[:, None])).sum(1) / var.clamp(min=1e-9)
            if not last:
                weight, sd = tukey(y - yl[:, None] - a[:, None] * dx, keep)
    with torch.no_grad():
        unit, level = yl.abs(), xl.clamp(min=1e-3)
        ramp = RAMP * unit / (12 * var).sqrt().clamp(min=1e-9)
        middle = level.clamp(max=0.9998)
        stretch = unit / level * (LEAN / (1 - middle * middle).sqrt()).clamp(max=10)
        mine = 1 / (sd.square() / (INDEPENDENT * var.clamp(min=1e-12)) + ramp.square() + stretch.square())
        prior = (SHIFT_PRIOR * unit / level).clamp(min=1e-6)
        apart = (yl / level - a).abs() > 2.5 * (1 / mine + prior.square()).sqrt()
        theirs = torch.where(apart & (a > 0), 0.0, prior.pow(-2))
        share = mine / (mine + theirs)
    a = share * a + (1 - share) * yl / xl.clamp(min=1e-3)
    floor = 0.2 * (yl / xl.clamp(min=1e-3)).detach().abs() + 1e-3
    a = torch.maximum(a, floor)
    empty = n < 30
    return torch.where(empty, 1.0, a), torch.where(empty, 0.0, yl - a * xl)


def table_plane(d, table, rounds=4):
    """(B,H,W): robust plane c0 + c1 u + c2 v through table pixels, for top views, whose small tilt is not known."""
    b, H, W = d.shape
    v, u = torch.meshgrid(torch.linspace(-1, 1, H, device=d.device), torch.linspace(-1, 1, W, device=d.device), indexing="ij")
    full = torch.stack([torch.ones_like(u), u, v], -1)
    basis = lattice(full.permute(2, 0, 1)).T                      # (P,3)
    y, keep = lattice(d), lattice(table).float()
    weight = keep
    ridge = torch.diag_embed(torch.full((3,), 1e-5, device=d.device))
    for i in range(rounds):
        last = i == rounds - 1
        with torch.set_grad_enabled(last and torch.is_grad_enabled()):
            w = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)
            lhs = torch.einsum("bp,pi,pj->bij", w, basis, basis) + ridge
            rhs = torch.einsum("bp,pi,bp->bi", w, basis, y)
            x = torch.linalg.solve_ex(lhs, rhs[..., None], check_errors=False).result[..., 0]
            if not last:
                weight, _ = tukey(y - x @ basis.T, keep)
    plane = torch.einsum("hwi,bi->bhw", full, x)
    return torch.where((keep.sum(1) < 30)[:, None, None], 1.0, plane)


def heights(d, batch: Batch):
    """H/h (B,H,W) as the product reads it from disparity d (B,H,W)."""
    table = bare_table(batch)
    a, b = table_line(d, batch.q, table)
    base, over = a[:, None, None] * batch.q, d - b[:, None, None]
    real = batch.real[:, None, None]
    plane = table_plane(d, table).clamp(min=0.05)
    base, over = torch.where(real, plane, base), torch.where(real, d, over)
    return 1 - base / torch.maximum(over, 0.4 * base.detach())


def mean(x, mask, least=50.0):
    """Per photo mean of x over mask, (B,)."""
    m = mask.float()
    return (x * m).flatten(1).sum(1) / m.flatten(1).sum(1).clamp(min=least)


def item_means(x, batch: Batch):
    """Mean of x over every food: (B*200,), and its pixel counts."""
    b = len(x)
    key = (batch.ids.clamp(max=199) + 200 * torch.arange(b, device=x.device)[:, None, None]).flatten()
    m = batch.food.float().flatten()
    zero = torch.zeros(b * 200, device=x.device)
    count = zero.index_add(0, key, m)
    return zero.index_add(0, key, m * x.flatten()) / count.clamp(min=1), count


def losses(d, batch: Batch):
    """Parts of the loss, each about 1 for a useless and 0.1 for a good network, averaged over the batch."""
    f = batch.real.float()
    seen = heights(d, batch)
    scale = (batch.h / UNIT_MM)[:, None, None]
    e = (seen - batch.t) * scale
    # beyond 6 units an error counts by its logarithm: one lost photo must not steer a step
    a = e.abs()
    a = torch.where(a < 6, a, 6 * (1 + (a.clamp(min=6) / 6).log()))
    height = mean(a, batch.food) + 0.5 * mean(a, batch.table) + (1 - f) * 0.4 * mean(a, batch.dish)
    got, count = item_means(seen, batch)
    true, _ = item_means(batch.t, batch)
    h = batch.h.repeat_interleave(200)
    ratio = (got - true).abs() / (true + 5 / h).clamp(min=2 / h)
    ratio = ratio.clamp(max=3) * (count > 80)
    item = ratio.sum() / (count > 80).sum().clamp(min=1)
    r = batch.r
    plain = 10 * ((1 - f) * mean((d - r).abs() / r, batch.known) + 0.3 * f * mean((d - r).abs(), batch.table))
    slope = 0
    stands = batch.food | (batch.dish & ~batch.real[:, None, None])
    for k in (1, 3):
        for axis in (1, 2):
            n = e.shape[axis] - k
            g = (e.narrow(axis, k, n) - e.narrow(axis, 0, n)).abs().clamp(max=4)
            slope = slope + mean(g, stands.narrow(axis, k, n) & stands.narrow(axis, 0, n))
    return {"height": height.mean(), "item": item, "plain": plain.mean(), "slope": slope.mean()}


WEIGHTS = {"height": 1.0, "item": 1.0, "plain": 2.0, "slope": 0.3}


def total(parts: dict, ease: float):
    """`ease` 0..1 brings the heights in once the plain disparity has formed: through a line fitted to noise their gradients are wild."""
    k = {"height": ease, "item": ease, "plain": 1.0, "slope": ease}
    return sum(WEIGHTS[n] * k[n] * v for n, v in parts.items())

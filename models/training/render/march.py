"""Where rays meet the field, and how much of the key light and of the sky reaches the points they meet."""

import torch
import torch.nn.functional as F

from .field import CELL, EMPTY, HALF, SIDE

FINE = 0.07                                    # cm, the least step
REACH = (0.5, 2.0, 6.0)                        # cm, radii of the coarse maps that let a ray skip empty space


class Tracer:
    def __init__(self, field):
        self.field = field
        a, b = field.layers
        self.maps = torch.stack([a.top, a.bottom, b.top, b.bottom])                      # (4,S,S)
        self.rows = self.maps.reshape(4, -1).T.contiguous()                               # (S*S,4)
        self.solid = torch.where(a.top > a.bottom, a.top, 0.0).maximum(torch.where(b.top > b.bottom, b.top, 0.0)).clamp_min(0)
        # clear glass is seen but shades nothing
        clear = torch.tensor([g[0] > 0.5 for g in field.glass], device=field.device)[a.material].reshape(-1)
        self.casting = self.rows.clone()
        self.casting[clear, :2] = torch.tensor([-EMPTY / 2, EMPTY / 2], device=field.device)
        self.lit = torch.where(clear.reshape(SIDE, SIDE), 0.0, self.solid)
        self.peak = float(self.solid.max()) + 0.05
        levels, step = [], 4
        coarse = F.max_pool2d(self.solid[None, None], step, step)
        for reach in REACH:                                # reach plus the cell a point may lie anywhere in
            k = int(reach / (CELL * step)) + 1
            levels.append(F.max_pool2d(F.max_pool2d(coarse, (2 * k + 1, 1), 1, (k, 0)), (1, 2 * k + 1), 1, (0, k))[0, 0])
        self.levels = (torch.stack(levels, -1).reshape(-1, len(REACH)) + 0.02).contiguous()
        self.coarse_side, self.coarse_cell = SIDE // step, CELL * step
        dx = (self.maps[:, :, 2:] - self.maps[:, :, :-2]) / (2 * CELL)
        dy = (self.maps[:, 2:] - self.maps[:, :-2]) / (2 * CELL)
        slope = torch.stack([F.pad(dx, (1, 1)), F.pad(dy, (0, 0, 1, 1))], -1).clamp(-12, 12)
        # on walls one cell wide the direction wavers from cell to cell: it is taken from the neighbourhood
        steep = slope.norm(dim=-1, keepdim=True)
        around = F.avg_pool2d(slope.permute(0, 3, 1, 2), 5, 1, 2).permute(0, 2, 3, 1)
        slope = torch.where(steep > 3, around / around.norm(dim=-1, keepdim=True).clamp_min(1e-3) * steep, slope)
        self.slope = slope.reshape(-1, 2).contiguous()                                     # (4*S*S,2)
        self.blurs()

    def blurs(self):
        """Mean heights within 0.5, 1.5 and 4.5 cm on a 0.32 cm grid, and the mean colour there."""
        a, b = self.field.layers
        h = F.avg_pool2d(self.lit[None, None], 4, 4)
        rgb = torch.where((b.top > b.bottom)[..., None], b.albedo[..., :3], a.albedo[..., :3] * (a.top > a.bottom)[..., None])
        rgb = F.avg_pool2d(rgb.permute(2, 0, 1)[None], 4, 4)
        out = []
        for sigma in (0.5, 1.5, 4.5):
            k = max(1, round(sigma / 0.32))
            blur = lambda t: F.avg_pool2d(F.avg_pool2d(t, 2 * k + 1, 1, k, count_include_pad=True), 2 * k + 1, 1, k)
            out.append(blur(h)[0, 0])
            if sigma == 1.5:
                self.near_rgb = blur(rgb)[0].reshape(3, -1).T.contiguous()
        self.mean_map = torch.stack(out)[None].contiguous()

    def cell(self, x, y, side=SIDE, size=CELL):
        """Flat index of the cell a point lies in and whether the grid holds it."""
        i, j = ((x + HALF) / size).floor(), ((y + HALF) / size).floor()
        inside = (i >= 0) & (i < side) & (j >= 0) & (j < side)
        return (j.clamp(0, side - 1) * side + i.clamp(0, side - 1)).long(), inside

    def bilinear(self, rows, x, y, base=None):
        """rows (S*S,C) (or several stacked, `base` their offsets) at points, between cell centres."""
        u, v = ((x + HALF) / CELL - 0.5).clamp(0, SIDE - 1.001), ((y + HALF) / CELL - 0.5).clamp(0, SIDE - 1.001)
        i, j = u.floor(), v.floor()
        a, b = (u - i)[:, None], (v - j)[:, None]
        k = (j * SIDE + i).long()
        k = k if base is None else k + base
        return torch.lerp(torch.lerp(rows[k], rows[k + 1], a), torch.lerp(rows[k + SIDE], rows[k + SIDE + 1], a), b)

    def inside(self, x, y, z):
        """(n,4) heights and which layers hold the points."""
        t = self.bilinear(self.rows, x, y)
        return t, (z < t[:, 0]) & (z > t[:, 1]), (z < t[:, 2]) & (z > t[:, 3])

    def trace(self, origin, rays):
        """Depth (along the rays' unit) of the first solid, inf where none; layer (0, 1) of each hit."""
        n = rays.shape[0]
        depth = torch.full((n,), float("inf"), device=rays.device)
        down = rays[:, 2] < -1e-4
        t0 = torch.where(down, (self.peak - origin[2]) / rays[:, 2].clamp(max=-1e-4), 1e9)
        t1 = torch.where(down, -origin[2] / rays[:, 2].clamp(max=-1e-4), 0.0)
        idx = torch.nonzero(down & (t0 < 500)).squeeze(1)
        d, t, end = rays[idx], t0[idx], t1[idx]
        flat = d[:, :2].norm(dim=1).clamp_min(1e-5)
        size = d.norm(dim=1)
        last = t.clone()
        cuda = rays.is_cuda
        live = torch.ones_like(t, dtype=torch.bool)
        reach = torch.tensor(REACH, device=rays.device)
        for i in range(150):
            p = origin + t[:, None] * d
            k, ok = self.cell(p[:, 0], p[:, 1], self.coarse_side, self.coarse_cell)
            clear = (p[:, 2:3] - self.levels[k])                                            # height over the peaks around
            step = torch.minimum(clear / -d[:, 2:3], reach / flat[:, None]).amax(1)
            step = torch.where(ok, step, (2.0 / flat).expand_as(step))
            fine = FINE / size
            # only points close to something can be inside
            close = (step < fine) & live
            where = torch.nonzero(close).squeeze(1)
            if len(where):
                q = p[where]
                _, in0, in1 = self.inside(q[:, 0], q[:, 1], q[:, 2])
                hit = in0 | in1
                found = where[hit]
                live[found] = False
                depth[idx[found]] = t[found]
            live &= t < end
            last = torch.where(live, t, last)
            t = torch.where(live, t + torch.maximum(step, fine), t)
            if i % 4 == 3:
                keep = torch.nonzero(live).squeeze(1)
                if len(keep) == 0:
                    break
                idx, d, t, end, flat, size, last, live = (a[keep] for a in (idx, d, t, end, flat, size, last, live))
        hit = torch.nonzero(torch.isfinite(depth)).squeeze(1)
        d, b = rays[hit], depth[hit]
        a = b - 2 * FINE / d.norm(dim=1)
        b = torch.minimum(b, t1[hit])
        for _ in range(6):                                                                  # the surface lies between a and b
            m = (a + b) / 2
            p = origin + m[:, None] * d
            _, in0, in1 = self.inside(p[:, 0], p[:, 1], p[:, 2])
            inside = in0 | in1
            a, b = torch.where(inside, a, m), torch.where(inside, m, b)
        depth[hit] = b
        return depth, hit

    def surface(self, p):
        """Layer (0, 1), whether the underside, and unit normals at points on a surface."""
        t = self.bilinear(self.rows, p[:, 0], p[:, 1])
        z = p[:, 2]
        over = torch.stack([(z - t[:, 0]).maximum(t[:, 1] - z), (z - t[:, 2]).maximum(t[:, 3] - z)], 1)
        layer = (over[:, 1] <= over[:, 0] + 1e-4) | (over[:, 1] < 5e-3)
        top, bottom = torch.where(layer, t[:, 2], t[:, 0]), torch.where(layer, t[:, 3], t[:, 1])
        below = (z - bottom).abs() < (top - z).abs()
        base = (layer.long() * 2 + below.long()) * (SIDE * SIDE)
        g = self.bilinear(self.slope, p[:, 0], p[:, 1], base)
        sign = torch.where(below, 1.0, -1.0)
        n = torch.stack([sign * g[:, 0], sign * g[:, 1], -sign], 1)
        frac = ((z - bottom) / (top - bottom).clamp_min(1e-3)).clamp(0, 0.999)
        return layer, below, n / n.norm(dim=1, keepdim=True), frac, (top - bottom)

    def light(self, p, towards, softness):
        """Share of an area light of that angular size (tangent) that the points see."""
        seen = torch.ones(p.shape[0], device=p.device)
        far = ((self.peak - p[:, 2]) / towards[2]).clamp_min(0.0)
        t = torch.full_like(seen, 0.12)
        for _ in range(18):
            q = p + t[:, None] * towards
            k, ok = self.cell(q[:, 0], q[:, 1])
            h = self.casting[k]
            gap = torch.stack([h[:, 0] - h[:, 1], h[:, 2] - h[:, 3]])
            inner = torch.stack([(h[:, 0] - q[:, 2]).minimum(q[:, 2] - h[:, 1]), (h[:, 2] - q[:, 2]).minimum(q[:, 2] - h[:, 3])])
            inner = torch.where(gap > 0.1 - EMPTY, inner, -99.0).amax(0)                    # far from a silhouette nothing shades
            part = (0.5 - inner / (2 * softness * t + 0.02)).clamp(0, 1)
            seen = torch.where(ok & (t < far + 0.6), torch.minimum(seen, part), seen)
            t = t * 1.2 + 0.13
        return seen

    def sky(self, p):
        """Share of the sky over points from the mean heights around them, and the mean colour of what stands there."""
        k, ok = self.cell(p[:, 0], p[:, 1], self.coarse_side, self.coarse_cell)
        at = (p[:, :2] / HALF)[None, None]
        mean = F.grid_sample(self.mean_map, at, padding_mode="border", align_corners=False)[0, :, 0].T
        rise = (mean - p[:, 2:3]).clamp_min(0) / torch.tensor([0.5, 1.5, 4.5], device=p.device)
        share = 1 / (1 + 0.9 * rise[:, 0] + 1.2 * rise[:, 1] + 1.2 * rise[:, 2])
        return torch.where(ok, share, 1.0), self.near_rgb[k]

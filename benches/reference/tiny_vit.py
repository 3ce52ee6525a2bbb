"""MobileSAM's image encoder (arXiv 2306.14289: TinyViT without its last downsampling) in PyTorch, for timing.

The shapes and operations of the published model with random weights; batch norms are folded away on both sides.
"""

import torch
import torch.nn.functional as F
from torch import nn


def conv(cin, cout, k=1, stride=1, groups=1):
    return nn.Conv2d(cin, cout, k, stride, k // 2, groups=groups)


class Inverted(nn.Module):
    def __init__(self, width, ratio=4):
        super().__init__()
        hidden = width * ratio
        self.a, self.b, self.c = conv(width, hidden), conv(hidden, hidden, 3, groups=hidden), conv(hidden, width)

    def forward(self, x):
        return F.gelu(self.c(F.gelu(self.b(F.gelu(self.a(x))))) + x)


class Merge(nn.Module):
    def __init__(self, width, out, stride):
        super().__init__()
        self.a, self.b, self.c = conv(width, out), conv(out, out, 3, stride, groups=out), conv(out, out)

    def forward(self, x):
        return self.c(F.gelu(self.b(F.gelu(self.a(x)))))


class Block(nn.Module):
    def __init__(self, width, heads, window):
        super().__init__()
        self.heads, self.window = heads, window
        self.norm, self.qkv, self.proj = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.randn(heads, window**2, window**2))
        self.local = conv(width, width, 3, groups=width)
        self.mlp_norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attend(self, x):
        """(B, h, w, C)"""
        b, h, w, c = x.shape
        s = self.window
        x = F.pad(x, (0, 0, 0, -w % s, 0, -h % s))
        ph, pw = x.shape[1:3]
        x = x.view(b, ph // s, s, pw // s, s, c).transpose(2, 3).reshape(-1, s * s, c)
        q, k, v = self.qkv(self.norm(x)).view(x.shape[0], s * s, self.heads, -1).chunk(3, -1)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias).transpose(1, 2).reshape(-1, s * s, c)
        x = self.proj(x).view(b, ph // s, pw // s, s, s, c).transpose(2, 3).reshape(b, ph, pw, c)
        return x[:, :h, :w]

    def forward(self, x):
        x = x + self.attend(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.local(x)
        y = x.permute(0, 2, 3, 1)
        y = y + self.down(F.gelu(self.up(self.mlp_norm(y))))
        return y.permute(0, 3, 1, 2).contiguous()


class Norm2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TinyVit(nn.Module):
    def __init__(self, widths=(64, 128, 160, 320), depths=(2, 2, 6, 2), heads=(2, 4, 5, 10), windows=(7, 7, 14, 7)):
        super().__init__()
        layers = [conv(3, widths[0] // 2, 3, 2), nn.GELU(), conv(widths[0] // 2, widths[0], 3, 2)]
        layers += [Inverted(widths[0]) for _ in range(depths[0])]
        for i in range(1, len(widths)):
            layers.append(Merge(widths[i - 1], widths[i], 2 if i < 3 else 1))
            layers += [Block(widths[i], heads[i], windows[i]) for _ in range(depths[i])]
        layers += [nn.Conv2d(widths[-1], 256, 1, bias=False), Norm2d(256)]
        layers += [nn.Conv2d(256, 256, 3, padding=1, bias=False), Norm2d(256)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)

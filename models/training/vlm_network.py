# requires: see common.py
"""Batched forward passes of VLM-tiny over its published class: a tower for equal square pictures, a decoder for many answers at once.

The class's own forward walks over windows one by one and answers one sequence after another; these compute the same (`agrees`
compares them) on whole batches without a host synchronisation, so that a GPU stays busy.
"""

import torch
import torch.nn.functional as F

import vlm_tokenizer as vt

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1) * 255
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1) * 255
PATCH, MERGE = 14, 2


def norm(layer, x):
    """RMS norm of a class's layer, in f32."""
    return F.rms_norm(x.float(), (x.shape[-1],), layer.weight, layer.variance_epsilon)


def turn(x, cos, sin):
    """Rotary positions: x (B,N,H,d), cos and sin (N,1,d)."""
    h = x.shape[-1] // 2
    return (x * cos + torch.cat([-x[..., h:], x[..., :h]], -1) * sin).to(x.dtype)


def drop(x, branch, rate):
    """x + branch, the branch left out for some samples (stochastic depth)."""
    if rate:
        branch = branch * (torch.rand(len(x), 1, 1, device=x.device) >= rate) / (1 - rate)
    return x + branch


class Tower:
    """The vision tower over pictures of one size (a multiple of the attention window)."""

    def __init__(self, config, side, device):
        c = config.vision_config
        self.side, self.window = side, c.window_size // (PATCH * MERGE)
        assert side % c.window_size == 0, "the picture must hold whole windows"
        n = side // (PATCH * MERGE)
        w = self.window
        order = torch.arange(n * n).reshape(n // w, w, n // w, w).permute(0, 2, 1, 3).flatten()  # merged tokens, window by window
        self.order, self.back = order.to(device), torch.argsort(order).to(device)
        self.full = set(c.fullatt_block_indexes)
        corner = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
        at = torch.stack([order // n, order % n], -1)[:, None] * 2 + corner          # (tokens, 4, (row, column)) of patches
        d = c.hidden_size // c.num_heads
        f = 10000.0 ** (-torch.arange(0, d // 2, 2).float() / (d // 2))
        angle = (at.reshape(-1, 2, 1).float() * f).flatten(1)
        angle = torch.cat([angle, angle], -1)[:, None]
        self.cos, self.sin = angle.cos().to(device), angle.sin().to(device)

    def patches(self, x):
        """Normalised pictures (B,3,S,S) -> (B,N,588): columns (C,14,14), rows in merge blocks, window by window."""
        b, n = len(x), self.side // (PATCH * MERGE)
        x = x.reshape(b, 3, n, 2, PATCH, n, 2, PATCH).permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(b, n * n, 4, -1)
        return x[:, self.order].flatten(1, 2)

    def __call__(self, visual, x, depth_drop=0.0):
        """Pictures (B,3,S,S) of 0..255 -> visual tokens (B,(S/28)^2,out)."""
        x = self.patches((x - MEAN.to(x.device)) / STD.to(x.device))
        b, n, _ = x.shape
        width = visual.config.hidden_size
        # a still fills both frames of a patch: their weights add up
        x = F.linear(x, visual.patch_embed.proj.weight.sum(2).flatten(1)).float()
        for k, block in enumerate(visual.blocks):
            a, rate = block.attn, depth_drop * k / max(1, len(visual.blocks) - 1)
            q, key, v = a.qkv(norm(block.norm1, x)).reshape(b, n, 3, a.num_heads, -1).unbind(2)
            q, key = turn(q, self.cos, self.sin), turn(key, self.cos, self.sin)
            size = n if k in self.full else (self.window * MERGE) ** 2
            q, key, v = (y.reshape(b * n // size, size, a.num_heads, -1).transpose(1, 2) for y in (q, key, v))
            y = F.scaled_dot_product_attention(q, key, v).transpose(1, 2).reshape(b, n, width)
            x = drop(x, a.proj(y), rate)
            m = block.mlp
            y = norm(block.norm2, x)
            x = drop(x, m.down_proj(F.silu(m.gate_proj(y)) * m.up_proj(y)), rate)
        y = norm(visual.merger.ln_q, x).reshape(b, n // 4, -1)
        return visual.merger.mlp(y)[:, self.back]


class Speech:
    """Prompt and all answers as a tree of tokens, for one picture size: every answer is scored in one pass."""

    def __init__(self, config, t, side, device):
        self.tokens = (side // (PATCH * MERGE)) ** 2
        prompt = vt.prompt_ids(t, self.tokens)
        self.start, self.length = prompt.index(config.image_token_id), len(prompt)
        eos = t.convert_tokens_to_ids("<|im_end|>")
        ids = [t(vt.answer(*a))["input_ids"] + [eos] for a in vt.answers()]
        self.longest = max(map(len, ids))
        answers = torch.full((len(ids), self.longest), -100)
        nodes, edges, paths = [], {}, []                   # node: (token, its ancestors and itself); edge: (parent, token) -> number
        known = {}
        for k, a in enumerate(ids):
            answers[k, : len(a)] = torch.tensor(a)
            parent, path = -1, []
            for i, token in enumerate(a):
                path.append(edges.setdefault((parent, token), len(edges)))
                if token != eos:
                    prefix = tuple(a[: i + 1])
                    if prefix not in known:
                        known[prefix] = len(nodes)
                        nodes.append((token, (nodes[parent][1] if parent >= 0 else ()) + (len(nodes),)))
                    parent = known[prefix]
            paths.append(path)
        self.answers = answers.to(device)
        self.prompt = torch.tensor(prompt, device=device)
        self.tree = torch.tensor([n[0] for n in nodes], device=device)
        self.parents = torch.tensor([e[0] + 1 for e in edges], device=device)           # row of the hidden states: 0 is the prompt's end
        self.edge_tokens = torch.tensor([e[1] for e in edges], device=device)
        self.paths = torch.zeros(len(edges), len(ids))
        for k, path in enumerate(paths):
            self.paths[path, k] = 1
        self.paths = self.paths.double().to(device)
        # positions (temporal, row, column): text counts on, the picture's tokens share a start, text goes on after the larger side
        s, n = self.start, side // (PATCH * MERGE)
        picture = torch.stack([torch.full((self.tokens,), s), s + torch.arange(self.tokens) // n, s + torch.arange(self.tokens) % n])
        after = s + n + torch.arange(self.length - s - self.tokens)
        place = torch.cat([torch.arange(s).expand(3, -1), picture, after.expand(3, -1)], 1)
        self.after = int(place.max()) + 1
        text = config.text_config
        d = text.hidden_size // text.num_attention_heads
        sections = text.rope_parameters["mrope_section"]
        f = text.rope_parameters["rope_theta"] ** (-torch.arange(0, d, 2).float() / d)
        axis = torch.tensor([k for k, c in enumerate(sections) for _ in range(c)])

        def tables(place):
            angle = place[axis].T.float() * f
            angle = torch.cat([angle, angle], -1)[:, None]
            return angle.cos().to(device), angle.sin().to(device)

        def sight(seen):
            """Who sees whom: the prompt causally; what follows the prompt and what `seen` says."""
            k = len(seen)
            m = torch.zeros(self.length + k, self.length + k, dtype=torch.bool)
            m[: self.length, : self.length] = torch.ones(self.length, self.length).tril().bool()
            m[self.length :, : self.length] = True
            m[self.length :, self.length :] = seen
            return m.to(device)

        seen = torch.zeros(len(nodes), len(nodes), dtype=torch.bool)
        for k, (_, line) in enumerate(nodes):
            seen[k, list(line)] = True
        depth = torch.tensor([len(line) - 1 for _, line in nodes])
        self.tree_rope = tables(torch.cat([place, (self.after + depth).expand(3, -1)], 1))
        self.tree_sight = sight(seen)
        a = self.longest - 1                                # two answers side by side
        pair = torch.arange(a).repeat(2)
        self.pair_rope = tables(torch.cat([place, (self.after + pair).expand(3, -1)], 1))
        side_by_side = torch.block_diag(torch.ones(a, a).tril(), torch.ones(a, a).tril()).bool()
        self.pair_sight = sight(side_by_side)

    def read(self, model, visual, ids, rope, sight):
        """Hidden states of the prompt's last token and of the tokens `ids` (B,K) after it: (B,1+K,D)."""
        lm = model.model.language_model
        b, config = len(visual), model.config.text_config
        embed = F.embedding(torch.cat([self.prompt.expand(b, -1), ids], 1), lm.embed_tokens.weight)
        x = torch.cat([embed[:, : self.start], visual.float(), embed[:, self.start + self.tokens :]], 1)
        n, heads, shared = x.shape[1], config.num_attention_heads, config.num_key_value_heads
        for layer in lm.layers:
            a = layer.self_attn
            y = norm(layer.input_layernorm, x)
            q, k, v = (p(y).reshape(b, n, h, -1) for p, h in ((a.q_proj, heads), (a.k_proj, shared), (a.v_proj, shared)))
            q, k = turn(q, *rope), turn(k, *rope)
            k, v = (z.repeat_interleave(heads // shared, 2) for z in (k, v))
            y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=sight)
            x = x + a.o_proj(y.transpose(1, 2).reshape(b, n, -1))
            y, m = norm(layer.post_attention_layernorm, x), layer.mlp
            x = x + m.down_proj(F.silu(m.gate_proj(y)) * m.up_proj(y))
        return norm(lm.norm, x[:, self.length - 1 :])

    def pair_loss(self, model, visual, first, second):
        """Loss (B) of answer `first` (B) and of answer `second` (B), by number: the summed loss of its tokens."""
        a, b = self.answers[first], self.answers[second]
        ids = torch.cat([a[:, :-1], b[:, :-1]], 1).clamp(min=0)
        logits = model.lm_head(self.read(model, visual, ids, self.pair_rope, self.pair_sight)).float()
        k = self.longest
        out = []
        for which, want in ((logits[:, :k], a), (torch.cat([logits[:, :1], logits[:, k:]], 1), b)):
            out.append(F.cross_entropy(which.transpose(1, 2), want, ignore_index=-100, reduction="none").sum(1))
        return out

    def edges(self, model, visual):
        """Logits of the tree's branchings (B,nodes+1,V)."""
        h = self.read(model, visual, self.tree.expand(len(visual), -1), self.tree_rope, self.tree_sight)
        return model.lm_head(h).float()

    def score(self, logits, temperature=1.0):
        """Log-probability of each answer (B,answers) from `edges`."""
        log = (logits / temperature).log_softmax(-1)
        return (log[:, self.parents, self.edge_tokens].double() @ self.paths).float()


@torch.no_grad()
def agrees(model, t, side, pictures):
    """Largest difference of the answers' log-probabilities between these passes and the class's own, over uint8 pictures (B,3,S,S)."""
    device = next(model.parameters()).device
    tower, speech = Tower(model.config, side, device), Speech(model.config, t, side, device)
    mine = speech.score(speech.edges(model, tower(model.model.visual, pictures.float())))
    g, worst = side // PATCH, 0.0
    for i, picture in enumerate(pictures):
        x = (picture[None].float() - MEAN.to(device)) / STD.to(device)
        n = g // 2
        x = x.reshape(3, n, 2, PATCH, n, 2, PATCH).permute(1, 4, 2, 5, 0, 3, 6)[..., None, :, :].expand(-1, -1, -1, -1, -1, 2, -1, -1)
        for k in range(0, len(speech.answers), 17):
            answer = speech.answers[k][speech.answers[k] >= 0]
            ids = torch.cat([speech.prompt, answer])[None]
            logits = model(input_ids=ids, pixel_values=x.reshape(g * g, -1), image_grid_thw=torch.tensor([[1, g, g]], device=device),
                           mm_token_type_ids=(ids == model.config.image_token_id).int()).logits
            log = logits[0, len(speech.prompt) - 1 : -1].float().log_softmax(-1)
            worst = max(worst, abs(float(log.gather(1, answer[:, None]).sum() - mine[i, k])))
    return worst

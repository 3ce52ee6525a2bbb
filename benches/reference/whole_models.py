"""The published networks at their sizes, with random weights and their inputs, for torch_cases.py and onnx_cases.py."""

from dataclasses import dataclass
from typing import Callable

import torch


@dataclass
class Model:
    """`module(*inputs)` is the work, as it is exported to ONNX. `eager` is the work in PyTorch where that differs."""

    module: torch.nn.Module
    inputs: tuple
    eager: Callable | None = None

    def call(self):
        return self.eager() if self.eager else self.module(*self.inputs)


class Call(torch.nn.Module):
    """A network, and which of its inputs and outputs count."""

    def __init__(self, network, forward):
        super().__init__()
        self.network, self.how = network, forward

    def forward(self, *inputs):
        return self.how(self.network, *inputs)


def scaled(network):
    """Draws the weights so that activations keep their size, as trained ones do: what transformers draws for SAM has a standard
    deviation of 1e-10, and arithmetic on the denormal numbers that follow takes many times as long."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() >= 2:
                weight.normal_(0, weight[0].numel() ** -0.5)
            elif "norm" not in name or name.endswith("bias"):
                weight.normal_(0, 0.1)
    return network.eval()


def sam_encoder():
    from transformers import SamConfig, SamModel

    network = scaled(SamModel._from_config(SamConfig()).vision_encoder)
    return Model(Call(network, lambda n, x: n(x).last_hidden_state), (torch.randn(1, 3, 1024, 1024),))


def sam_decoder():
    """64 points on one embedding, three masks each."""
    from transformers import SamConfig, SamModel

    # The vision encoder is not run: keep it small.
    config = SamConfig(vision_config=dict(num_hidden_layers=0, global_attn_indexes=[]))
    network = scaled(SamModel._from_config(config))
    inputs = torch.randn(1, 256, 64, 64), torch.rand(1, 64, 1, 2) * 1024, torch.ones(1, 64, 1, dtype=torch.long)

    def masks(n, embedding, points, labels):
        found = n(image_embeddings=embedding, input_points=points, input_labels=labels, multimask_output=True)
        return found.pred_masks, found.iou_scores

    return Model(Call(network, masks), inputs)


def mobile_sam_encoder():
    from tiny_vit import TinyVit

    return Model(scaled(TinyVit()), (torch.randn(1, 3, 1024, 1024),))


def depth(width=384, layers=12, taps=(3, 6, 9, 12), neck=(48, 96, 192, 384), fusion=64):
    """Depth Anything V2, Small by default."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 64, image_size=518, patch_size=14,
        out_indices=list(taps), reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=width, neck_hidden_sizes=list(neck), fusion_hidden_size=fusion,
    )
    network = scaled(DepthAnythingForDepthEstimation._from_config(config))
    return Model(Call(network, lambda n, x: n(pixel_values=x).predicted_depth), (torch.randn(1, 3, 518, 518),))


def qwen(vocabulary=512, layers=1, blocks=1, full=()):
    """Qwen2.5-VL-3B, of one layer and one block by default."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=vocabulary, hidden_size=2048, intermediate_size=11008, num_hidden_layers=layers, num_attention_heads=16,
            num_key_value_heads=2, bos_token_id=500, eos_token_id=501, pad_token_id=500,
            rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[16, 24, 24]),
        ),
        vision_config=dict(
            depth=blocks, hidden_size=1280, num_heads=16, intermediate_size=3420, out_hidden_size=2048, window_size=112,
            fullatt_block_indexes=list(full),
        ),
        image_token_id=505, video_token_id=506, vision_start_token_id=502, vision_end_token_id=503,
        tie_word_embeddings=True,
    )
    return scaled(Qwen2_5_VLForConditionalGeneration._from_config(config)).model


def qwen_vision(side=32, **size):
    grid = torch.tensor([[1, side, side]])

    def tokens(n, patches):
        return n(patches, grid_thw=grid).pooler_output

    return Model(Call(qwen(**size).visual, tokens), (torch.randn(side * side, 1176),))


def qwen_text(prompt, step, layers=36, vocabulary=151936):
    """All layers over `prompt` tokens, or the step that writes one more behind them: embedding, layers, scores, the likeliest."""
    from transformers import DynamicCache

    network = qwen(vocabulary, layers).language_model
    place = lambda first, length: torch.arange(first, first + length).expand(3, 1, -1)
    x, cache, token = torch.randn(1, prompt, 2048), DynamicCache(config=network.config), torch.tensor([[0]])

    def read(before, **inputs):
        if cache.get_seq_length() > before:
            cache.crop(before - cache.get_seq_length())
        n = next(iter(inputs.values())).shape[1]
        return network(**inputs, position_ids=place(before, n), past_key_values=cache, use_cache=True).last_hidden_state

    def write():
        scores = read(prompt, input_ids=token)[:, -1] @ network.embed_tokens.weight.T
        return scores.float().argmax(-1).tolist()

    if step:
        with torch.inference_mode():
            read(0, inputs_embeds=x)
    return Model(network, (), write if step else lambda: read(0, inputs_embeds=x))


def qwen_layer(before, n):
    """`n` tokens behind `before` cached ones."""
    from transformers import DynamicCache

    network = qwen().language_model
    place = lambda first, length: torch.arange(first, first + length).expand(3, 1, -1)
    x, positions = torch.randn(1, n, 2048), place(before, n)
    cached = [torch.randn(1, 2, before, 128) for _ in range(2 if before else 0)]

    def layer(net, x, positions, *cached):
        cache = DynamicCache(config=net.config)
        if cached:
            cache.update(*cached, 0)
        out = net(inputs_embeds=x, position_ids=positions, past_key_values=cache, use_cache=True)
        return out.last_hidden_state, cache.layers[0].keys, cache.layers[0].values

    cache = DynamicCache(config=network.config)
    if cached:
        cache.update(*cached, 0)

    def eager():
        if cache.get_seq_length() > before:
            cache.crop(before - cache.get_seq_length())
        return network(inputs_embeds=x, position_ids=positions, past_key_values=cache, use_cache=True)

    return Model(Call(network, layer), (x, positions, *cached), eager)


MODELS = {
    "model/sam_b_encoder": sam_encoder,
    "model/mobile_sam_encoder": mobile_sam_encoder,
    "model/sam_decoder_64_points": sam_decoder,
    "model/dav2_s_518": depth,
    "model/qwen_3b_vision_block": qwen_vision,
    "model/qwen_3b_layer_prefill": lambda: qwen_layer(0, 512),
    "model/qwen_3b_layer_decode": lambda: qwen_layer(512, 1),
}

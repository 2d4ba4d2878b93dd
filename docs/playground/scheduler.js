// DDIM (Song, Meng & Ermon 2021) without added noise, from the settings in scheduler_config.json.
// The names are those of diffusers' DDIMScheduler.

// How much of the picture's variance is left at each of the 1000 moments of training.
function alphasCumprod({ beta_schedule, beta_start, beta_end, num_train_timesteps: n, rescale_betas_zero_snr }) {
  const root = beta_schedule === "scaled_linear" ? 0.5 : 1;
  if (root === 1 && beta_schedule !== "linear") throw new Error(`beta_schedule ${beta_schedule} is not known here.`);
  const [first, last] = [beta_start ** root, beta_end ** root];
  let product = 1;
  const alphas = Array.from({ length: n }, (_, t) => (product *= 1 - (first + ((last - first) * t) / (n - 1)) ** (1 / root)));
  if (!rescale_betas_zero_snr) return alphas;
  const [start, end] = [Math.sqrt(alphas[0]), Math.sqrt(alphas[n - 1])]; // the end becomes pure noise
  return alphas.map((a) => (((Math.sqrt(a) - end) * start) / (start - end)) ** 2);
}

// As numpy rounds: a half goes to the even neighbour.
const round = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

function timesteps({ timestep_spacing, num_train_timesteps: n, steps_offset = 0 }, steps) {
  if (timestep_spacing === "trailing")
    return Array.from({ length: steps }, (_, i) => round(n - (i * n) / steps) - 1);
  if (timestep_spacing === "leading")
    return Array.from({ length: steps }, (_, i) => (steps - 1 - i) * Math.floor(n / steps) + steps_offset);
  throw new Error(`timestep_spacing ${timestep_spacing} is not known here.`);
}

export function makeScheduler(config, steps) {
  const alphas = alphasCumprod(config), final = config.set_alpha_to_one ? 1 : alphas[0];
  const gap = Math.floor(config.num_train_timesteps / steps);

  // One step: the U-Net's answer says what is noise and what is picture; keep less of the noise.
  function step(answer, t, x) {
    const a = Math.sqrt(alphas[t]), s = Math.sqrt(1 - alphas[t]);
    const before = t - gap >= 0 ? alphas[t - gap] : final;
    const next = new Float32Array(x.length), picture = new Float32Array(x.length);
    for (let i = 0; i < x.length; i++) {
      let noise = answer[i];
      if (config.prediction_type === "epsilon") picture[i] = (x[i] - s * noise) / a;
      else if (config.prediction_type === "v_prediction") {
        picture[i] = a * x[i] - s * answer[i];
        noise = a * answer[i] + s * x[i];
      } else throw new Error(`prediction_type ${config.prediction_type} is not known here.`);
      if (config.clip_sample) {
        const range = config.clip_sample_range ?? 1;
        picture[i] = Math.min(range, Math.max(-range, picture[i]));
      }
      next[i] = Math.sqrt(before) * picture[i] + Math.sqrt(1 - before) * noise;
    }
    return { next, picture };
  }
  return { timesteps: timesteps(config, steps), step };
}

"""Every paper that the checkout cites by its arXiv number: authors and year, title."""

PAPERS = {
    "1412.6980": ("Kingma and Ba 2014", "Adam: A Method for Stochastic Optimization"),
    "1503.03585": (
        "Sohl-Dickstein, Weiss, Maheswaranathan and Ganguli 2015",
        "Deep Unsupervised Learning using Nonequilibrium Thermodynamics",
    ),
    "1604.06174": (
        "Chen, Xu, Zhang and Guestrin 2016",
        "Training Deep Nets with Sublinear Memory Cost",
    ),
    "1606.03498": ("Salimans et al. 2016", "Improved Techniques for Training GANs"),
    "1702.03118": (
        "Elfwing, Uchibe and Doya 2017",
        "Sigmoid-Weighted Linear Units for Neural Network Function Approximation in Reinforcement "
        "Learning",
    ),
    "1706.08500": (
        "Heusel et al. 2017",
        "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
    ),
    "1708.07120": (
        "Smith and Topin 2017",
        "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates",
    ),
    "1709.07871": (
        "Perez et al. 2017",
        "FiLM: Visual Reasoning with a General Conditioning Layer",
    ),
    "1711.05101": ("Loshchilov and Hutter 2019", "Decoupled Weight Decay Regularization"),
    "1904.06991": (
        "Kynkäänniemi et al. 2019",
        "Improved Precision and Recall Metric for Assessing Generative Models",
    ),
    "2006.11239": ("Ho, Jain and Abbeel 2020", "Denoising Diffusion Probabilistic Models"),
    "2010.02502": ("Song, Meng and Ermon 2021", "Denoising Diffusion Implicit Models"),
    "2011.13456": (
        "Song et al. 2021",
        "Score-Based Generative Modeling through Stochastic Differential Equations",
    ),
    "2102.09672": (
        "Nichol and Dhariwal 2021",
        "Improved Denoising Diffusion Probabilistic Models",
    ),
    "2105.05233": ("Dhariwal and Nichol 2021", "Diffusion Models Beat GANs on Image Synthesis"),
    "2107.00630": ("Kingma, Salimans, Poole and Ho 2021", "Variational Diffusion Models"),
    "2108.01073": (
        "Meng et al. 2021",
        "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations",
    ),
    "2201.06503": (
        "Bao, Li, Zhu and Zhang 2022",
        "Analytic-DPM: an Analytic Estimate of the Optimal Reverse Variance in Diffusion "
        "Probabilistic Models",
    ),
    "2202.00512": (
        "Salimans and Ho 2022",
        "Progressive Distillation for Fast Sampling of Diffusion Models",
    ),
    "2205.11487": (
        "Saharia et al. 2022",
        "Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding",
    ),
    "2206.01714": (
        "Liu, Li, Du, Torralba and Tenenbaum 2022",
        "Compositional Visual Generation with Composable Diffusion Models",
    ),
    "2207.12598": ("Ho and Salimans 2022", "Classifier-Free Diffusion Guidance"),
    "2210.03142": ("Meng et al. 2022", "On Distillation of Guided Diffusion Models"),
    "2211.01095": (
        "Lu et al. 2022",
        "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
    ),
    "2212.11972": (
        "Jabri, Fleet and Chen 2022",
        "Scalable Adaptive Computation for Iterative Generation",
    ),
    "2302.03792": ("Kong, Brekelmans and Ver Steeg 2023", "Information-Theoretic Diffusion"),
    "2302.11552": (
        "Du et al. 2023",
        "Reduce, Reuse, Recycle: Compositional Generation with Energy-Based Diffusion Models and "
        "MCMC",
    ),
    "2209.03003": (
        "Liu, Gong and Liu 2022",
        "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow",
    ),
    "2210.02747": ("Lipman et al. 2022", "Flow Matching for Generative Modeling"),
    "2303.00848": (
        "Kingma and Gao 2023",
        "Understanding Diffusion Objectives as the ELBO with Simple Data Augmentation",
    ),
    "2303.09556": (
        "Hang et al. 2023",
        "Efficient Diffusion Training via Min-SNR Weighting Strategy",
    ),
    "2305.08891": (
        "Lin, Liu, Li and Yang 2023",
        "Common Diffusion Noise Schedules and Sample Steps are Flawed",
    ),
    "2404.13040": (
        "Wang et al. 2024",
        "Analysis of Classifier-Free Guidance Weight Schedulers",
    ),
    "2310.07972": (
        "Kong, Liu, Li, Yogatama and Ver Steeg 2024",
        "Interpretable Diffusion via Information Decomposition",
    ),
    "2404.07724": (
        "Kynkäänniemi et al. 2024",
        "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in "
        "Diffusion Models",
    ),
    "2406.02507": ("Karras et al. 2024", "Guiding a Diffusion Model with a Bad Version of Itself"),
    "2406.08070": (
        "Chung et al. 2024",
        "CFG++: Manifold-constrained Classifier Free Guidance for Diffusion Models",
    ),
    "2407.02687": (
        "Sadat et al. 2024",
        "No Training, No Problem: Rethinking Classifier-Free Guidance for Diffusion Models",
    ),
    "2408.09000": (
        "Bradley and Nakkiran 2024",
        "Classifier-Free Guidance is a Predictor-Corrector",
    ),
    "2409.13074": (
        "Chidambaram et al. 2024",
        "What does guidance do? A fine-grained analysis in a simple setting",
    ),
    "2410.02416": (
        "Sadat, Hilliges and Weber 2024",
        "Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion Models",
    ),
    "2410.18737": ("Xia et al. 2024", "Rectified Diffusion Guidance for Conditional Generation"),
    "2502.07849": (
        "Pavasovic, Verbeek, Biroli and Mezard 2025",
        "Classifier-Free Guidance: From High-Dimensional Analysis to Generalized Guidance Forms",
    ),
    "2502.12154": (
        "Tang, Bao, Chen and Guo 2025",
        "Diffusion Models without Classifier-free Guidance",
    ),
    "2503.02819": (
        "Skreta et al. 2025",
        "Feynman-Kac Correctors in Diffusion: Annealing, Guidance, and Product of Experts",
    ),
    "2503.18886": (
        "Fan et al. 2025",
        "CFG-Zero*: Improved Classifier-Free Guidance for Flow Matching Models",
    ),
    "2505.21101": (
        "Moufad et al. 2025",
        "Conditional Diffusion Models with Classifier-Free Gibbs-like Guidance",
    ),
    "2509.22007": (
        "Jin, Shi and Gu 2025",
        "Stage-wise Dynamics of Classifier-Free Guidance in Diffusion Models",
    ),
}

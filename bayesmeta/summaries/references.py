"""What a paper cites for the methods of the package, and the numbers under which it does.

References of estimators stand in their register, see `estimation.methods`.
"""

FRAMEWORK = (
    "Sera F, Armstrong B, Blangiardo M, Gasparrini A (2019). An extended mixed-effects framework for meta-analysis. "
    "Statistics in Medicine 38:5429-5444."
)
COCHRAN = "Cochran WG (1954). The combination of estimates from different experiments. Biometrics 10:101-129."
I_SQUARED = (
    "Higgins JPT, Thompson SG (2002). Quantifying heterogeneity in a meta-analysis. Statistics in Medicine "
    "21:1539-1558."
)
Q_PROFILE = (
    "Viechtbauer W (2007). Confidence intervals for the amount of heterogeneity in meta-analysis. Statistics in "
    "Medicine 26:37-52."
)
RESIDUAL_Q_PROFILE = (
    "Jackson D, Turner R, Rhodes K, Viechtbauer W (2014). Methods for calculating confidence and credible intervals "
    "for the residual between-study variance in random effects meta-regression models. BMC Medical Research "
    "Methodology 14:103."
)
PREDICTION = (
    "Higgins JPT, Thompson SG, Spiegelhalter DJ (2009). A re-evaluation of random-effects meta-analysis. Journal of "
    "the Royal Statistical Society, Series A 172:137-159."
)
INTERPRETATION = "Riley RD, Higgins JPT, Deeks JJ (2011). Interpretation of random effects meta-analyses. BMJ 342:d549."
R_SQUARED = (
    "Raudenbush SW (2009). Analyzing effect sizes: random effects models. In: Cooper H, Hedges LV, Valentine JC (eds). "
    "The handbook of research synthesis and meta-analysis, 2nd edition, pages 295-315. New York: Russell Sage "
    "Foundation."
)
PINHEIRO_BATES = "Pinheiro JC, Bates DM (2000). Mixed-effects models in S and S-PLUS. New York: Springer."
KNAPP_HARTUNG = (
    "Knapp G, Hartung J (2003). Improved tests for a random effects meta-regression with a single covariate. "
    "Statistics in Medicine 22:2693-2710."
)
JACKSON_RILEY = (
    "Jackson D, Riley RD (2014). A refined method for multivariate meta-analysis and meta-regression. Statistics in "
    "Medicine 33:541-554."
)
KENWARD_ROGER = (
    "Kenward MG, Roger JH (1997). Small sample inference for fixed effects from restricted maximum likelihood. "
    "Biometrics 53:983-997."
)
FAI_CORNELIUS = (
    "Fai AH, Cornelius PL (1996). Approximate F-tests of multiple degree of freedom hypotheses in generalized least "
    "squares analyses of unbalanced split-plot experiments. Journal of Statistical Computation and Simulation "
    "54:363-378."
)
BELL_MCCAFFREY = (
    "Bell RM, McCaffrey DF (2002). Bias reduction in standard errors for linear regression with multi-stage samples. "
    "Survey Methodology 28:169-181."
)
PUSTEJOVSKY_TIPTON = (
    "Pustejovsky JE, Tipton E (2018). Small-sample methods for cluster-robust variance estimation and hypothesis "
    "testing in fixed effects models. Journal of Business & Economic Statistics 36:672-683."
)
VIECHTBAUER_CHEUNG = (
    "Viechtbauer W, Cheung MWL (2010). Outlier and influence diagnostics for meta-analysis. Research Synthesis Methods "
    "1:112-125."
)
MIXTURES = (
    "Cappe O, Douc R, Guillin A, Marin JM, Robert CP (2008). Adaptive importance sampling in general mixture classes. "
    "Statistics and Computing 18:447-459."
)
NUTS = (
    "Hoffman MD, Gelman A (2014). The No-U-Turn Sampler: adaptively setting path lengths in Hamiltonian Monte Carlo. "
    "Journal of Machine Learning Research 15:1593-1623."
)
TRAPEZOID = "Trefethen LN, Weideman JAC (2014). The exponentially convergent trapezoidal rule. SIAM Review 56:385-458."
CHAINS = (
    "Vehtari A, Gelman A, Simpson D, Carpenter B, Bürkner PC (2021). Rank-normalization, folding, and localization: an "
    "improved R-hat for assessing convergence of MCMC. Bayesian Analysis 16:667-718."
)
WEAK_PRIORS = (
    "Röver C, Bender R, Dias S, Schmid CH, Schmidli H, Sturtz S, Weber S, Friede T (2021). On weakly informative prior "
    "distributions for the heterogeneity parameter in Bayesian random-effects meta-analysis. Research Synthesis "
    "Methods 12:448-474."
)
TURNER = (
    "Turner RM, Jackson D, Wei Y, Thompson SG, Higgins JPT (2015). Predictive distributions for between-study "
    "heterogeneity and simple methods for their application in Bayesian meta-analysis. Statistics in Medicine "
    "34:984-998."
)
RHODES = (
    "Rhodes KM, Turner RM, Higgins JPT (2015). Predictive distributions were developed for the extent of heterogeneity "
    "in meta-analyses of continuous outcome data. Journal of Clinical Epidemiology 68:52-60."
)
LKJ = (
    "Lewandowski D, Kurowicka D, Joe H (2009). Generating random correlation matrices based on vines and extended "
    "onion method. Journal of Multivariate Analysis 100:1989-2001."
)


class Bibliography:
    """References in the order in which a text first cites them.

    >>> text = Bibliography()
    >>> text.cite("A (2001)."), text.cite("B (2002).", "A (2001)."), text.cite("")
    (' [1]', ' [1, 2]', '')
    >>> text.entries
    ('A (2001).', 'B (2002).')
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def cite(self, *references: str) -> str:
        """What is put after a word, with the space before it; nothing for empty references."""
        numbers = {self._numbers.setdefault(each, len(self._numbers) + 1) for each in references if each}
        return f" [{', '.join(map(str, sorted(numbers)))}]" if numbers else ""

    @property
    def entries(self) -> tuple[str, ...]:
        return tuple(self._numbers)

//! The Universal Scalability Law: throughput against concurrency, from contention and coherence.

use serde::{Deserialize, Serialize};

/// `X(N) = λN / (1 + σ(N − 1) + κN(N − 1))`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Usl {
    /// λ: requests per second of one connection alone.
    pub lambda: f64,
    /// σ: the share that queues for something.
    pub sigma: f64,
    /// κ: the cost of keeping the parts in agreement.
    pub kappa: f64,
    /// Share of the variance that the law explains.
    pub r_squared: f64,
}

impl Usl {
    /// Fits the law to points of concurrency and throughput; `None` with fewer than three of them.
    ///
    /// `N/X` is linear in `N − 1` and `N(N − 1)`; negative coefficients, which mean nothing, are set to zero and the
    /// rest fitted again. Residuals are weighted so that they count in throughput, not in its inverse.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < 3 || points.iter().any(|(n, x)| *n <= 0.0 || *x <= 0.0) {
            return None;
        }
        let solve = |columns: &[usize]| {
            let rows = points.iter().map(|(n, x)| {
                let terms = [1.0, n - 1.0, n * (n - 1.0)];
                let weight = x * x / n;
                (columns.iter().map(|column| terms[*column]).collect(), n / x, weight * weight)
            });
            least_squares(rows.collect())
        };
        let mut columns = vec![0, 1, 2];
        let coefficients = loop {
            let solved = solve(&columns)?;
            let worst = (1..columns.len())
                .filter(|at| solved[*at] < 0.0)
                .min_by(|a, b| solved[*a].total_cmp(&solved[*b]));
            match worst {
                Some(at) => drop(columns.remove(at)),
                None => {
                    let mut all = [0.0; 3];
                    columns.iter().zip(solved).for_each(|(column, value)| all[*column] = value);
                    break all;
                }
            }
        };
        let [inverse, sigma, kappa] = coefficients;
        if inverse <= 0.0 {
            return None;
        }
        let mut law =
            Self { lambda: 1.0 / inverse, sigma: sigma / inverse, kappa: kappa / inverse, r_squared: 0.0 };
        let mean = points.iter().map(|(_, x)| x).sum::<f64>() / points.len() as f64;
        let total: f64 = points.iter().map(|(_, x)| (x - mean).powi(2)).sum();
        let left: f64 = points.iter().map(|(n, x)| (x - law.throughput(*n)).powi(2)).sum();
        law.r_squared = if total > 0.0 { 1.0 - left / total } else { 1.0 };
        Some(law)
    }

    /// Throughput at a concurrency.
    pub fn throughput(&self, n: f64) -> f64 {
        self.lambda * n / (1.0 + self.sigma * (n - 1.0) + self.kappa * n * (n - 1.0))
    }

    /// The concurrency beyond which throughput falls, if it does.
    pub fn peak(&self) -> Option<f64> {
        (self.kappa > 1e-12 && self.sigma < 1.0).then(|| ((1.0 - self.sigma) / self.kappa).sqrt())
    }
}

/// Weighted linear least squares by the normal equations; `None` when they have no single solution.
fn least_squares(rows: Vec<(Vec<f64>, f64, f64)>) -> Option<Vec<f64>> {
    let size = rows.first()?.0.len();
    let mut matrix = vec![vec![0.0; size + 1]; size];
    for (terms, value, weight) in &rows {
        for i in 0..size {
            for j in 0..size {
                matrix[i][j] += weight * terms[i] * terms[j];
            }
            matrix[i][size] += weight * terms[i] * value;
        }
    }
    for column in 0..size {
        let pivot =
            (column..size).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, pivot);
        let divisor = matrix[column][column];
        if divisor.abs() < 1e-300 {
            return None;
        }
        matrix[column].iter_mut().for_each(|cell| *cell /= divisor);
        let pivot_row = matrix[column].clone();
        for (_, row) in matrix.iter_mut().enumerate().filter(|(index, _)| *index != column) {
            let factor = row[column];
            row.iter_mut().zip(&pivot_row).for_each(|(cell, pivot)| *cell -= factor * pivot);
        }
    }
    Some(matrix.into_iter().map(|row| row[size]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(law: Usl) -> Vec<(f64, f64)> {
        [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0].map(|n| (n, law.throughput(n))).to_vec()
    }

    #[test]
    fn a_law_is_found_again_from_its_own_points() {
        for (lambda, sigma, kappa) in [(1000.0, 0.05, 0.0003), (40_000.0, 0.3, 0.0), (900.0, 0.0, 0.001)] {
            let law = Usl { lambda, sigma, kappa, r_squared: 1.0 };
            let fitted = Usl::fit(&points(law)).unwrap();
            assert!((fitted.lambda / lambda - 1.0).abs() < 1e-6, "{fitted:?}");
            assert!((fitted.sigma - sigma).abs() < 1e-6 && (fitted.kappa - kappa).abs() < 1e-8, "{fitted:?}");
            assert!(fitted.r_squared > 0.999_999);
        }
    }

    #[test]
    fn the_peak_is_where_throughput_turns() {
        let law = Usl { lambda: 1000.0, sigma: 0.04, kappa: 0.0006, r_squared: 1.0 };
        let peak = law.peak().unwrap();
        assert!((peak - 40.0).abs() < 1e-9);
        assert!(law.throughput(peak) > law.throughput(peak * 1.1));
        assert!(law.throughput(peak) > law.throughput(peak * 0.9));
    }

    #[test]
    fn coefficients_are_never_negative_and_few_points_are_no_fit() {
        // Faster than linear, as with a cold start: the law has no such term.
        let fitted = Usl::fit(&[(1.0, 90.0), (2.0, 200.0), (4.0, 420.0), (8.0, 850.0)]).unwrap();
        assert!(fitted.sigma >= 0.0 && fitted.kappa >= 0.0);
        assert!(Usl::fit(&[(1.0, 1.0), (2.0, 2.0)]).is_none());
    }
}
